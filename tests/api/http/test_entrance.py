"""What protects browsers: headers on every answer, no foreign Host, CORS only where it is set."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from api.http.entrance import SECURITY_HEADERS, Entrance
from settings import Settings

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from tests.api.conftest import Exchange

PATHS = (
    "/healthz",
    "/docs",
    "/openapi.json",
    "/v1/markets",
    "/v1/nowhere",
    "/v1/markets/",
    "//evil.example/nowhere",
    "/v1/keys",
)


def test_every_answer_protects_the_browser(exchange: Exchange) -> None:
    """Whatever the status; no answer is a redirect, for it would repeat the Host of the request."""
    client = exchange.api.client
    answers = [client.get(path) for path in PATHS]
    answers += [client.post("/v1/orders", content=b"x"), client.post("/v1/orders", content=b"x" * 2_000_000)]
    for found in answers:
        assert SECURITY_HEADERS.items() <= dict(found.headers).items(), found.request.url
        assert found.headers["cross-origin-resource-policy"] == "same-origin"
        assert found.status_code // 100 != 3, found.request.url
        assert "access-control-allow-origin" not in found.headers


def test_the_reference_works_under_the_policy(exchange: Exchange) -> None:
    """Its only style has the hash that the policy allows; it has no script, no inline style, no event handler."""
    page = exchange.api.client.get("/docs").text
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{hashed}'" in SECURITY_HEADERS["content-security-policy"]
    assert re.findall(r"<script|\sstyle=|\son\w+=", page) == []


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "xlocalhost", "a@localhost"]
)
def test_a_foreign_host_is_refused(exchange: Exchange, host: str) -> None:
    """Reads, writes and pages alike: 421, and the answer does not repeat the name."""
    for method, path in (("GET", "/v1/markets"), ("POST", "/v1/orders"), ("GET", "/docs")):
        found = exchange.api.client.request(method, path, headers={"host": host})
        assert (found.status_code, found.json()["code"]) == (421, "HOST_NOT_ALLOWED")
        assert "evil" not in found.text


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "a.localhost", "127.0.0.1:1", "[::1]:8000", "10.0.0.7", "localhost."]
)
def test_our_own_names_and_addresses_are_served(exchange: Exchange, host: str) -> None:
    """A site cannot have a browser name an address that is not its own."""
    assert exchange.api.client.get("/healthz", headers={"host": host}).status_code == 200


def through(settings: Settings, method: str, **headers: str) -> httpx.Response:
    """Return the answer of an entrance with these settings, in front of an app that says yes."""

    async def yes(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"etag", b'"1"')]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def ask() -> Any:
        transport = httpx.ASGITransport(Entrance(yes, settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(
                method, "/v1/orders", headers={name.replace("_", "-"): v for name, v in headers.items()}
            )

    found: httpx.Response = asyncio.run(ask())
    return found


def test_settings_name_hosts_and_origins() -> None:
    """An origin of the list is allowed, with a preflight for writes; another one gets no permission, and so without a list."""
    ours, theirs = "https://app.example.org", "https://evil.example"
    settings = Settings(allowed_hosts="tidings.example.org, .inner.example", cors_origins=f"{ours},https://b.example")
    for host, status in (
        ("tidings.example.org", 200),
        ("a.inner.example:80", 200),
        ("inner.example", 421),
        ("evil.example", 421),
    ):
        assert through(settings, "GET", host=host).status_code == status
    asks = {"access_control_request_method": "POST", "access_control_request_headers": "authorization, idempotency-key"}

    plain = through(settings, "GET", origin=ours)
    preflight = through(settings, "OPTIONS", origin=ours, **asks)

    assert plain.headers["access-control-allow-origin"] == preflight.headers["access-control-allow-origin"] == ours
    assert preflight.status_code == 200
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "retry-after" in plain.headers["access-control-expose-headers"].lower()
    assert "access-control-allow-credentials" not in plain.headers
    assert "access-control-allow-origin" not in through(settings, "GET", origin=theirs).headers
    assert through(settings, "OPTIONS", origin=theirs, **asks).status_code == 400
    assert "access-control-allow-origin" not in through(Settings(), "OPTIONS", origin=ours, **asks).headers
