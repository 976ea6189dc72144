"""Asks servers: the state of a component from the first that answers, and from each server its own answer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rampd import v1
from rampd._contract.component_state import CHANNELS
from rampd._contract.wording import one_line
from rampd._decision.resolution import Resolution
from rampd._standing.candidates import candidates
from rampd._standing.explanation import Explanation
from rampd.errors import InternalError, InvalidArgumentError, RampdError
from rampd_cli.explaining.comparison import Asked, difference
from rampd_cli.failures import of_newer_server

if TYPE_CHECKING:
    from rampd import Admin
    from rampd_cli.place import Place
    from rampd_cli.session import Session


def ask(session: "Session", component: str, repo: str, job_id: str) -> tuple[Explanation, list[Asked]]:
    """Returns the state, and the answer of each server. If they differ, all are asked once more, because a change may have come
    in between. Raises the first error if no server tells the state.
    """
    places = session.places()
    found = _asked_once(session, places, component, repo, job_id)
    known, answers = found
    if any(each.error is None and difference(known, each) for each in answers):
        return _asked_once(session, places, component, repo, job_id)
    return found


def _asked_once(
    session: "Session", places: "Sequence[Place]", component: str, repo: str, job_id: str
) -> tuple[Explanation, list[Asked]]:
    known = _state(session, places, component, repo, job_id)
    return known, [Asked(place.server, _answer(session, place, component, repo, job_id)) for place in places]


def _state(session: "Session", places: "Sequence[Place]", component: str, repo: str, job_id: str) -> Explanation:
    errors = []
    for place in places:
        admin = session.admin_of(place)
        try:
            rollout, override = admin.get_rollout(component), _override(admin, component, repo)
        except RampdError as error:
            errors.append(error)
            continue
        _require_known(rollout, override)
        known = Explanation(rollout, override, repo, job_id)
        try:
            _ = known.answer
        except ValueError as error:
            raise InternalError(f"The state that {place.server} sent makes no sense: {error}.") from error
        return known
    raise errors[0]


def _require_known(rollout: v1.Rollout, override: v1.Override | None) -> None:
    """Raises UnimplementedError if the version depends on something that only a newer server knows."""
    component = one_line(rollout.component)
    if rollout.state not in v1.RolloutState.values():
        raise of_newer_server(f"{component} has a state ({rollout.state})")
    if rollout.unit not in v1.Unit.values():
        raise of_newer_server(f"{component} has a unit of buckets ({rollout.unit})")
    if override is not None and not override.tag and override.channel not in CHANNELS:
        raise of_newer_server(f"The override of {one_line(override.repo)} is of a kind")


def _override(admin: "Admin", component: str, repo: str) -> v1.Override | None:
    """The override that decides: one call for each place where it can be, until it is found."""
    for candidate in candidates(repo):
        # The overrides come in order, so the one with exactly this name is the first.
        first = next(iter(admin.list_overrides(component, prefix=candidate, page_size=1)), None)
        if first is not None and first.repo == candidate:
            return first
    return None


def _answer(session: "Session", place: "Place", component: str, repo: str, job_id: str) -> Resolution | RampdError:
    try:
        return session.resolver_of(place).resolve(component, repo=repo, job_id=job_id)
    except InvalidArgumentError:
        raise  # the command line is wrong
    except RampdError as error:
        return error
