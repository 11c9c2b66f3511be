"""What commands share."""

from __future__ import annotations

import pytest

from api.cli.command import server_url


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8123"), ("0.0.0.0", "http://127.0.0.1:8123"), ("::1", "http://[::1]:8123")],  # noqa: S104
)
def test_the_own_server_is_where_the_settings_say(host: str, url: str) -> None:
    """A server that listens on every address is reached at this machine's own."""
    assert server_url(host, 8123) == url
