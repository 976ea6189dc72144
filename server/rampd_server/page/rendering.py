"""From what the page shows to HTML. Every text is data: markup is escaped, and misleading characters become visible. Only what a form
sends again is as it was typed.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from rampd._contract.wording import one_line
from rampd_server.page import static
from rampd_server.page.turns import in_turns

_PIECES: Final = 500
"""How many pieces of a page are written before other tasks get a turn. They take about a millisecond."""


def _as_data(value: Any) -> Any:  # noqa: ANN401 - whatever a template writes
    return value if isinstance(value, Markup) or not isinstance(value, str) else one_line(value)


def _moment(at: datetime | None) -> str:
    """A moment for a program: ISO 8601."""
    return "" if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_TEMPLATES: Final = Environment(
    loader=PackageLoader("rampd_server.page"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_as_data,
    # Otherwise each part of a page would look at its file again.
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["static"] = static.address
_TEMPLATES.filters["moment"] = _moment
# For the value of a field: a browser would send a visible escape as what the person has typed.
_TEMPLATES.filters["typed"] = escape


def prepare() -> None:
    """Reads all templates, so that the first person who looks does not wait for that, nor anybody else."""
    for name in _TEMPLATES.list_templates():
        _TEMPLATES.get_template(name)


def fragment(template: str, **shown: Any) -> str:  # noqa: ANN401 - what the template shows
    """Returns a part of a page as HTML."""
    return _TEMPLATES.get_template(template).render(shown)


async def page(template: str, status: int = HTTPStatus.OK, **shown: Any) -> HTMLResponse:  # noqa: ANN401 - as above
    """Returns a whole page."""
    pieces = _TEMPLATES.get_template(template).generate(shown)
    return HTMLResponse("".join([piece async for piece in in_turns(pieces, _PIECES)]), status)
