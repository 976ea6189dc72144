"""The files that the page needs: style and JavaScript. Their address has a digest of them all, so that a browser may keep them."""

import hashlib
from importlib import resources
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES: Final = {
    file.name: file.read_bytes()
    for file in sorted(resources.files("rampd_server.page").joinpath("static").iterdir(), key=lambda file: file.name)
    if "." + file.name.rpartition(".")[2] in _KINDS
}
_DIGEST: Final = hashlib.sha256(
    b"\0".join(part for name, data in _FILES.items() for part in (name.encode(), data))
).hexdigest()[:16]
_KEPT: Final = {"cache-control": "public, max-age=31536000, immutable"}


def address(name: str) -> str:
    """Returns the path of a file. Raises KeyError: there is no such file."""
    _FILES[name]
    return f"/static/{_DIGEST}/{name}"


def routes() -> list[Route]:
    """The addresses of all files."""
    return [Route("/static/{digest}/{name}", _file)]


async def _file(request: Request) -> Response:
    digest, name = request.path_params["digest"], request.path_params["name"]
    if name not in _FILES:
        raise HTTPException(404)
    # While servers are updated, one of another version may have made the page. Its files are better than none, but nobody keeps them.
    headers = _KEPT if digest == _DIGEST else None
    return Response(_FILES[name], headers=headers, media_type=_KINDS["." + name.rpartition(".")[2]])
