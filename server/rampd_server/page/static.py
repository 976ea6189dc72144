"""The files that the page needs: style and JavaScript. Their address has a digest of them all, so that a browser may keep them."""

import hashlib
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES: Final = {
    file.name: file.read_bytes()
    for file in sorted(resources.files("rampd_server.page").joinpath("static").iterdir(), key=lambda file: file.name)
    if "." + file.name.rpartition(".")[2] in _KINDS
}
_DIGEST: Final = hashlib.sha256(b"\0".join(part for name, data in _FILES.items() for part in (name.encode(), data)))
_BEFORE: Final = f"/static/{_DIGEST.hexdigest()[:16]}/"


def address(name: str) -> str:
    """Returns the path of a file. Raises KeyError: there is no such file."""
    _FILES[name]
    return _BEFORE + name


def routes() -> list[BaseRoute]:
    """One for each file."""
    return [Route(_BEFORE + name, _answering(name)) for name in _FILES]


def _answering(name: str) -> Callable[[Request], Awaitable[Response]]:
    kind = _KINDS["." + name.rpartition(".")[2]]

    async def file(_request: Request) -> Response:
        return Response(_FILES[name], headers={"cache-control": "public, max-age=31536000, immutable"}, media_type=kind)

    return file
