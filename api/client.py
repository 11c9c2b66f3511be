"""A small blocking client of the HTTP API, for the command line and the demo; it needs only the standard library.

Every write carries an id. So a request that fails on the way (connection, 429, 503) is simply sent again. But a server that
has not answered anything yet is most likely not there: that is said at once.
"""

from __future__ import annotations

import http.client
import json
import re
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
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")


def server_url(host: str, port: int) -> str:
    """Return the URL of a server on this machine that listens on this host and port."""
    host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class NoServerError(OSError):
    """No server answers at the URL, or something else than Tidings does; the message names the URL."""


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
        """Prepare the connection, without opening it. Raises ValueError if the URL or the key cannot be one."""
        self.url = url.rstrip("/")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url} is not the URL of a server: {error}") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or not _PRINTABLE.fullmatch(url):
            raise ValueError(f"{url} is not the URL of a server, expected one like http://127.0.0.1:8000")
        if key is not None and not _PRINTABLE.fullmatch(key):
            raise ValueError("the key is empty or has characters that no key has")
        self._prefix = parts.path.rstrip("/")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, port, timeout=30)
        self._key = key
        self._retry_seconds = retry_seconds
        self._answered = False

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a read. Raises ClientError and NoServerError."""
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
        """Return the answer to a write, which is sent again with the same id until there is one.

        Raises ClientError and NoServerError. `at` is the time of the command; the server must allow it (`TIDINGS_CLOCK=command`).
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
                text = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if not self._answered or time.monotonic() > deadline:
                    raise NoServerError(f"no server answers at {self.url}: {error}") from None
                time.sleep(_PAUSE_SECONDS)
                continue
            answer = self._object(text)
            if response.status in {429, 503} and time.monotonic() < deadline:
                time.sleep(min(float(response.headers.get("retry-after", 1)), 1.0))
                continue
            if response.status >= http.client.BAD_REQUEST:
                raise ClientError(response.status, answer)
            return answer

    def _object(self, text: bytes) -> dict[str, Any]:
        """Return the JSON object of an answer; raises NoServerError when it is none."""
        try:
            found = json.loads(text or b"{}")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise NoServerError(f"what answers at {self.url} is not Tidings")
        self._answered = True
        return found
