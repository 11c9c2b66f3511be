"""Puts the pages into the HTTP application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.page import desk, desk_forms, feeds, people, routes, session, trading
from api.page.frame import PageFrame
from api.page.rendering import HEADERS, Pages

if TYPE_CHECKING:
    from api.http.app import App

ROUTERS = (routes.router, trading.router, people.router, session.router, desk.router, desk_forms.router, feeds.router)


def add_pages(app: App) -> None:
    """Serve the pages beside the API, with sessions for both."""
    pages = app.state.pages = Pages()
    for router in ROUTERS:
        app.include_router(router)
    app.add_route("/static/{name}", pages.assets.serve, include_in_schema=False)
    app.entrance = PageFrame(app.entrance, pages.error, HEADERS)
