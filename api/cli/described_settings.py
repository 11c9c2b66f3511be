"""Every setting, with its value and its default, as people see it."""

from typing import Any, NamedTuple

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from settings import PREFIX, Settings


class Described(NamedTuple):
    """One setting in the list of `tidings settings`."""

    variable: str
    value: str
    default: str
    description: str


def described(settings: Settings) -> list[Described]:
    """Return every setting, in the order of the file, with secrets masked."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        rows.append(
            Described(
                variable=f"{PREFIX}{name.upper()}",
                value=_display(name, getattr(settings, name)),
                default=_display(name, default),
                description=field.description or "",
            )
        )
    return rows


def _display(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if name == "dsn":
        masked = {"password": "***"} if "password" in conninfo_to_dict(value) else {}
        return make_conninfo(value, **masked)
    return str(value)
