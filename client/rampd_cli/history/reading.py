"""Reads the history from a server."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rampd import v1
from rampd._contract.wording import one_line
from rampd.errors import UnimplementedError

if TYPE_CHECKING:
    from rampd_cli.session import Session

_PAGE: Final = 200


def read(session: "Session", component: str, after: str = "") -> Iterator[v1.Event]:
    """Yields the events of a component, or of all if it is empty, newest first. `after`: only those after this id. A person reads
    which histories are left out, because they are damaged. Raises RampdError.
    """
    told: set[str] = set()

    def tell(damage: v1.Damage) -> None:
        # Who follows the history has read it at the start.
        if not after and damage.key not in told:
            told.add(damage.key)
            session.tell(f"rampd: {one_line(damage.key)} is left out: {one_line(damage.problem)}")

    events = session.admin().list_events(
        component, every_component=not component, after=after, page_size=_PAGE, on_damage=tell
    )
    for event in events:
        if not component and not event.id:
            raise UnimplementedError(
                "This server can't list the history of all components, because it is older than this rampd. Name one: "
                f"rampd history COMPONENT{session.at}"
            )
        yield event
