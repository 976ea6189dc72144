"""Reads the history from a server."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rampd import v1
from rampd.errors import UnimplementedError

if TYPE_CHECKING:
    from rampd_cli.session import Session

_PAGE: Final = 200


def read(session: "Session", component: str, after: str = "") -> Iterator[v1.Event]:
    """Yields the events of a component, or of all if it is empty, newest first. `after`: only those after this id. Raises
    RampdError.
    """
    for event in session.admin().list_events(component, every_component=not component, after=after, page_size=_PAGE):
        if not component and not event.id:
            raise UnimplementedError(
                "This server can't list the history of all components, because it is older than this rampd. Name one: "
                "rampd history COMPONENT"
            )
        yield event
