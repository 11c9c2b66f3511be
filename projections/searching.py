"""Searching texts: PostgreSQL's full-text search, with one configuration for all indexes.

The configuration `public.tidings`, made by a migration, says how words are taken from texts. `set_language` changes it.
"""

from typing import Any, Final

from psycopg import Connection, sql

CONFIGURATION: Final = "'public.tidings'::regconfig"

MARKET_DOCUMENT: Final = " || ".join(
    f"setweight(to_tsvector({CONFIGURATION}, {column}), '{weight}')"
    for column, weight in (("question", "A"), ("title", "B"), ("details", "C"))
)
"""The SQL for the words of a market, a row of market_texts, with their weights."""

STORY_DOCUMENT: Final = " || ".join(
    f"setweight(to_tsvector({CONFIGURATION}, {column}), '{weight}')"
    for column, weight in (("title", "B"), ("body", "D"))
)
"""The SQL for the words of a story, with their weights."""

WANTED: Final = f"websearch_to_tsquery({CONFIGURATION}, %s)"
"""The SQL for what people type: all words are wanted, `"a phrase"`, `or`, and `-` before a word that is not wanted."""

STORY_FOUND: Final = f"({STORY_DOCUMENT}) @@ {WANTED}"
"""The SQL for whether a text finds a story."""

_WORDS: Final = "asciiword, asciihword, hword_asciipart, word, hword, hword_part"
_TABLES: Final = ("stories", "market_texts")


def set_language(connection: Connection[Any], language: str, schema: str) -> None:
    """Take words from texts by the rules of a language; `simple` has none but lower case. Then index all texts anew.

    Nothing happens where the language is the same as before.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('tidings search', 0))")
        row = connection.execute(f"SELECT obj_description({CONFIGURATION}, 'pg_ts_config')").fetchone()
        if (row[0] if row and row[0] else "simple") == language:
            return
        dictionary = sql.Identifier("pg_catalog", "simple" if language == "simple" else f"{language}_stem")
        connection.execute(
            sql.SQL("ALTER TEXT SEARCH CONFIGURATION public.tidings ALTER MAPPING FOR {} WITH {}").format(
                sql.SQL(_WORDS), dictionary
            )
        )
        connection.execute(
            sql.SQL("COMMENT ON TEXT SEARCH CONFIGURATION public.tidings IS {}").format(sql.Literal(language))
        )
        for table in _TABLES:
            found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.{table}"]).fetchone()
            if found and found[0]:
                connection.execute(sql.SQL("REINDEX TABLE {}").format(sql.Identifier(schema, table)))
