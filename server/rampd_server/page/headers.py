"""The headers of every answer of the page."""

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

_HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "no-store",
    # Nothing comes from elsewhere, and nothing that somebody has written into a tag or a note can run.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # With "no-referrer", browsers would also hide from this server which page has sent a form.
    "referrer-policy": "same-origin",
}


def protected(answer: Response) -> Response:
    """Returns the answer with the headers that it does not have itself."""
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer
