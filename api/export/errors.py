"""The errors of an export that people must see."""


class ExportRefusedError(ValueError):
    """The export cannot be made as it was asked for. The message says why, and what to do."""


class MissingDuckDBError(ImportError):
    """Parquet needs DuckDB, which is an extra."""

    def __init__(self) -> None:
        super().__init__(
            "Parquet needs DuckDB: install the extra with `pip install 'tidings[analysts]'` or `pip install duckdb`, or use "
            "--format jsonl, which needs nothing"
        )
