"""Reads from a server what `rampd status` shows."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from rampd import v1
from rampd._standing.failing import LEAST_RATE, failing_one, usual_rate
from rampd._standing.standing import urgency
from rampd.errors import NotFoundError, RampdError
from rampd_cli.absence import is_damaged, is_gone
from rampd_cli.status.known import Detail, Known, Overrides

if TYPE_CHECKING:
    from rampd import Admin

MOST_WITH_JOBS: Final = 40
"""Of how many components a screen shows the jobs of their trial, the most urgent ones: each costs a call."""
_PAGE: Final = 1000
_AT_ONCE: Final = 8
_EVENTS: Final = 20
"""The newest events of a component. The beginning of the present hold is among them, or it is not shown."""
_COUNTED_OVERRIDES: Final = 3 * _PAGE
_SAYS_S: Final = 2.0

_Result = TypeVar("_Result")
_Item = TypeVar("_Item")


def read(admin: "Admin", components: Sequence[str], *, is_screen: bool) -> Known:
    """Returns what is shown on a screen, or in a pipe: of some components, or of all if none is named. Raises RampdError."""
    if not components:
        return Known(read_all(admin, MOST_WITH_JOBS if is_screen else None))
    wanted = list(dict.fromkeys(components))
    rollouts = _at_once(lambda component: _rollout(admin, component), wanted)
    return Known(rollouts, [_detail(admin, rollout) for rollout in rollouts] if is_screen else None)


def read_all(admin: "Admin", most_with_jobs: int | None) -> list[v1.Rollout]:
    """Returns all components, by name, with the jobs of current. Those under way come with the jobs of their trial, too: with
    `most_with_jobs`, only the most urgent ones. With 0, none has any jobs. Raises RampdError.
    """
    listed = admin.list_rollouts(page_size=_PAGE, current_outcomes=most_with_jobs != 0)
    rollouts = {rollout.component: rollout for rollout in listed}
    sound = [each for each in rollouts.values() if not each.HasField("damage")]
    wanted = sorted((each for each in sound if each.HasField("next")), key=urgency)
    # A server that does not list the jobs of current has them in GetRollout. Those that became current last come first.
    steady = (each for each in sound if not each.HasField("next") and not each.HasField("current_outcomes"))
    wanted += sorted(steady, key=_since_ns, reverse=True)
    for rollout in _at_once(lambda each: _with_jobs(admin, each), wanted[:most_with_jobs]):
        rollouts[rollout.component] = rollout
    return list(rollouts.values())


def _since_ns(steady: v1.Rollout) -> int:
    return steady.current.update_time.ToNanoseconds()


def _with_jobs(admin: "Admin", listed: v1.Rollout) -> v1.Rollout:
    try:
        return admin.get_rollout(listed.component)
    except RampdError:
        return listed  # it is gone or the server is slow: better without jobs than no screen


def _rollout(admin: "Admin", component: str) -> v1.Rollout:
    """Raises RampdError. A component whose data is damaged is an answer, too."""
    try:
        return admin.get_rollout(component)
    except RampdError as error:
        if is_gone(error) and (near := _near(admin, component)):
            raise NotFoundError(
                f"{error.message} Did you mean {near}?", reason=error.reason, metadata=error.metadata
            ) from error
        if not is_damaged(error):
            raise
        damage = v1.Damage(key=error.metadata.get("key", ""), problem=error.message)
        return v1.Rollout(component=component, damage=damage)


def _near(admin: "Admin", component: str) -> str:
    """Returns the names that are most like a name that does not exist, as a part of a sentence. Empty if none is."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a name that does not exist

    try:
        names = [rollout.component for rollout in admin.list_rollouts(page_size=_PAGE)]
    except RampdError:
        return ""
    return " or ".join(get_close_matches(component, names, n=3))


def _detail(admin: "Admin", rollout: v1.Rollout) -> Detail:
    """What can't be read, apart from the rollout itself, is left out."""
    component = rollout.component
    if rollout.HasField("damage") and not rollout.HasField("current"):
        return Detail(rollout, events=_tried(lambda: _events(admin, component), []))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        says = pool.submit(_tried, lambda: _says(admin, rollout), "")
        events = pool.submit(_tried, lambda: _events(admin, component), [])
        overrides = pool.submit(_tried, lambda: _overrides(admin, component), Overrides())
        quarantined = pool.submit(_tried, lambda: _quarantined(admin, component), [])
        usual = pool.submit(_tried, lambda: _usual_rate(admin, rollout), LEAST_RATE)
        return Detail(rollout, says.result(), events.result(), overrides.result(), quarantined.result(), usual.result())


def _tried(read: Callable[[], _Result], otherwise: _Result) -> _Result:
    try:
        return read()
    except RampdError:
        return otherwise


def _says(admin: "Admin", rollout: v1.Rollout) -> str:
    """What WatchRelease says first about next, which is what automation waits for."""
    if not rollout.HasField("next"):
        return ""
    stream = admin.watch_release(rollout.component, rollout.next.number, timeout=_SAYS_S)
    return next((response.message for response in stream), "")


def _events(admin: "Admin", component: str) -> list[v1.Event]:
    return list(islice(admin.list_events(component, page_size=_EVENTS), _EVENTS))


def _overrides(admin: "Admin", component: str) -> Overrides:
    found = list(islice(admin.list_overrides(component, page_size=_PAGE), _COUNTED_OVERRIDES + 1))
    counted = Counter(override.channel for override in found[:_COUNTED_OVERRIDES])
    return Overrides(
        to_current=counted[v1.CHANNEL_CURRENT],
        to_next=counted[v1.CHANNEL_NEXT],
        to_tag=counted[v1.CHANNEL_UNSPECIFIED],
        is_cut=len(found) > _COUNTED_OVERRIDES,
    )


def _quarantined(admin: "Admin", component: str) -> list[str]:
    return [each.tag for each in admin.list_quarantine(component, page_size=_PAGE)]


def _usual_rate(admin: "Admin", rollout: v1.Rollout) -> float:
    """What the list of all components compares with, so that both name the same ones."""
    if failing_one(rollout) is None:
        return LEAST_RATE
    return usual_rate(list(admin.list_rollouts(page_size=_PAGE, current_outcomes=True)))


def _at_once(read: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Reads several things at once, and returns them in order. Raises the first error."""
    wanted = list(items)
    if len(wanted) < 2:
        return [read(item) for item in wanted]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(read, wanted))
