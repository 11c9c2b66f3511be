"""The files that pages load: read once, with a hash of all of them in their address, so that browsers keep them for ever."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from api.http.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER: Final = Path(__file__).parent / "static"
KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER: Final = "public, max-age=31536000, immutable"
VERSION_MARK: Final = b"?v=VERSION"
"""What stands in imports of modules instead of the hash."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file: its media type, its bytes, and the same compressed."""

    kind: str
    body: bytes
    compressed: bytes


class Assets:
    """All files of the folder `static`; `version` is the hash of all of them."""

    def __init__(self, folder: Path = FOLDER) -> None:
        texts = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in KINDS}
        self.version = sha256(b"\0".join(texts.values())).hexdigest()[:12]
        self._assets = {}
        for name, text in texts.items():
            body = text.replace(VERSION_MARK, f"?v={self.version}".encode())
            if name.endswith(".css"):
                body = body.replace(b"\n", b"")  # no line of ours ends within a value
            self._assets[name] = Asset(KINDS[Path(name).suffix], body, gzip.compress(body, 9, mtime=0))

    def url(self, name: str) -> str:
        """Return the address of a file; raises KeyError for an unknown one."""
        return f"/static/{name}?v={self.version}" if self._assets[name] else ""

    async def serve(self, request: Request) -> Response:
        """Answer with a file; raises ApiError NOT_FOUND."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            raise ApiError("NOT_FOUND", "not found")
        is_current = request.query_params.get("v") == self.version
        headers = {"cache-control": FOREVER if is_current else "no-cache", "vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.compressed, headers=headers | {"content-encoding": "gzip"}, media_type=asset.kind)
        return Response(asset.body, headers=headers, media_type=asset.kind)
