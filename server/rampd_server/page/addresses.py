"""Paths of this server that a browser sends and gets."""

import re
from typing import Final
from urllib.parse import quote

from starlette.requests import Request

_HERE: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)
"""A path and a query of this server. A browser takes `//name` and `/\\name` for the address of another one."""


def here(request: Request) -> str:
    """Returns the path and the query of a request, as a browser writes them."""
    query = request.scope["query_string"].decode("latin-1")
    return quote(request.scope["path"]) + (f"?{query}" if query else "")


def inside(path: str) -> str:
    """Returns a path that a request names, if it is one of this server: a link must not lead people elsewhere after they have signed
    in. Otherwise returns that of all components.
    """
    return path if _HERE.fullmatch(path) else "/"
