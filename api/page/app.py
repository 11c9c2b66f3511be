"""Puts the pages into the HTTP application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.page import desk, desk_forms, feeds, people, routes, session, set_aside, trading
from api.page.frame import PageFrame
from api.page.rendering import HEADERS, Pages
from api.page.sales import KeptSales

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.http.app import App

ROUTERS = tuple(each.router for each in (routes, trading, people, session, desk, desk_forms, set_aside, feeds))


def add_pages(app: App, dead_letters: Callable[[], list[set_aside.Letter]] | None = None) -> None:
    """Serve the pages beside the API, with sessions for both.

    `dead_letters` returns those without a decision, or raises OperationalError; None where there can be none.
    """
    pages = app.state.pages = Pages()
    app.state.dead_letters = dead_letters
    app.state.sales = KeptSales()
    for router in ROUTERS:
        app.include_router(router)
    app.add_route("/static/{name}", pages.assets.serve, include_in_schema=False)
    app.entrance = PageFrame(app.entrance, pages.error, HEADERS)
