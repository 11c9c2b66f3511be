"""Templates, compiled at the start, and the answers made from them."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from api.page import filters
from api.page.assets import Assets
from api.page.event_words import event_words
from api.page.languages import current, translate, translate_number
from api.page.problem_words import problem_words

if TYPE_CHECKING:
    from starlette.responses import Response

FOLDER: Final = Path(__file__).parent / "templates"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}; require-trusted-types-for 'script'"
)

HEADERS: Final = {
    "content-security-policy": POLICY.format(ancestors="'none'"),
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "vary": "Accept-Language",
}
"""The headers of every page: only our own files are loaded, no other site may frame it, and no script may stand in it."""


class Pages:
    """Makes pages from templates."""

    def __init__(self) -> None:
        self.assets = Assets()
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.install_gettext_callables(  # type: ignore[attr-defined]
            translate, translate_number, newstyle=True
        )
        self._environment.globals["asset"] = self.assets.url
        self._environment.filters.update(
            percent=filters.percent,
            points=filters.points,
            credits=filters.credits_,
            signed=filters.signed,
            whole=filters.whole,
            decimal=filters.decimal,
            moment=filters.moment,
            day=filters.day,
            event_words=event_words,
            problem_words=problem_words,
            span=filters.span,
            safe_url=filters.safe_url,
            segment=filters.segment,
        )
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def text(self, template: str, language: str, **values: Any) -> str:
        """Return the HTML of a template in a language."""
        token = current.set(language)
        try:
            return self._environment.get_template(template).render(lang=language, **values)
        finally:
            current.reset(token)

    def answer(self, template: str, language: str, http_status: int = 200, **values: Any) -> Response:
        """Return a page as an answer."""
        return HTMLResponse(self.text(template, language, **values), http_status, headers=HEADERS)

    def error(self, status: int, error: dict[str, Any], language: str, then: str | None) -> bytes:
        """Return the page of an error; `then` is the path of a page of the past, None for one of now."""
        values = {"status": status, "phrase": HTTPStatus(status).phrase, "error": error, "viewer": None, "as_of": None}
        return self.text("error.html", language, then=then, **values).encode()
