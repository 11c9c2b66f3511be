"""A small blocking client of the HTTP API, for the command line and the demo; it needs only the standard library.

Every write carries an id. So a request that fails on the way (connection, 429, 503) is simply sent again.
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from messages.wire import format_time

if TYPE_CHECKING:
    from domain.money import Time

RETRY_SECONDS: Final = 60.0
"""The default time for which a request is sent again."""

_PAUSE_SECONDS: Final = 0.1


class ClientError(Exception):
    """The server answered with an error: HTTP status, code, message, details."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{body.get('code')}: {body.get('message')}")
        self.status = status
        self.code = str(body.get("code"))
        self.details = body.get("details", {})


class HttpClient:
    """One keep-alive connection to a server, with a key, or without one for reads."""

    def __init__(self, url: str, key: str | None = None, *, retry_seconds: float = RETRY_SECONDS) -> None:
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=30)
        self._key = key
        self._retry_seconds = retry_seconds

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a read. Raises ClientError."""
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        return self._send("GET", f"{path}?{query}" if query else path, None, {})

    def write(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        at: Time | None = None,
    ) -> dict[str, Any]:
        """Return the answer to a write, which is sent again with the same id until there is one. Raises ClientError.

        `at` is the time of the command; the server must allow it (`TIDINGS_CLOCK=command`).
        """
        headers = {"idempotency-key": idempotency_key or secrets.token_hex(16), "content-type": "application/json"}
        if at is not None:
            headers["tidings-time"] = format_time(at)
        return self._send(method, path, json.dumps(body or {}).encode(), headers)

    def post(self, path: str, body: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """Return the answer to a POST; options as for `write`."""
        return self.write("POST", path, body, **options)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key}"
        deadline = time.monotonic() + self._retry_seconds
        while True:
            try:
                self._connection.request(method, self._prefix + path, body, headers)
                response = self._connection.getresponse()
                answer = json.loads(response.read() or b"{}")
            except (OSError, http.client.HTTPException):
                self._connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
                continue
            if response.status in {429, 503} and time.monotonic() < deadline:
                time.sleep(min(float(response.headers.get("retry-after", 1)), 1.0))
                continue
            if response.status >= http.client.BAD_REQUEST:
                raise ClientError(response.status, answer)
            return dict(answer)
