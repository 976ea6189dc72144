"""Sets the policies that files want: every one is checked by the server before the first is written."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from rampd_cli.absence import is_damaged, is_gone
from rampd_cli.failures import WrongUseError
from rampd_cli.policies.differences import Difference, differences
from rampd_cli.policies.reading import Problem, WrittenPolicy, read_files

if TYPE_CHECKING:
    from rampd import Admin, v1
    from rampd.errors import RampdError
    from rampd_cli.changing import How
    from rampd_cli.session import Session

_TRIES: Final = 3
_SHOWN: Final = 100
"""How many problems a person reads."""


@dataclass(frozen=True, slots=True)
class Present:
    """The policy that a component has."""

    component: str
    revision: int
    own: "v1.Policy"
    """The settings that are not at their defaults."""
    all: "v1.Policy"
    """All settings."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a component gets."""

    present: Present
    wanted: "v1.Policy"
    differences: Sequence[Difference]
    written: WrittenPolicy | None
    """None: no file names the component, and its policy goes back to its defaults."""

    @property
    def component(self) -> str:
        return self.present.component


def wanted_of(session: "Session", files: Sequence[str]) -> list[WrittenPolicy]:
    """Reads files. Raises WrongUseError after the person has read everything that is wrong with them."""
    found, problems = read_files(files)
    refuse(session, problems)
    return found


def refuse(session: "Session", problems: Sequence[Problem]) -> None:
    """Raises WrongUseError if there are problems. A person reads them a line each, a program in the message of the error."""
    if not problems:
        return
    if session.output in {"json", "yaml"}:
        raise WrongUseError("\n".join(map(str, problems)))
    from rampd._contract.wording import counted, one_line  # noqa: PLC0415 - only for a command that fails

    for problem in problems[:_SHOWN]:
        session.tell(one_line(str(problem)))
    if len(problems) > _SHOWN:
        session.tell(f"… and {len(problems) - _SHOWN:,} more")
    raise WrongUseError(f"{counted(len(problems), 'error')}. Nothing was changed.")


def present(admin: "Admin", component: str) -> Present:
    """Asks for the policy that a component has. Raises RampdError."""
    rollout = admin.get_rollout(component)
    return Present(component, rollout.revision, rollout.policy, admin.get_policy(component))


def every(session: "Session", on_damage: "Callable[[RampdError], None] | None" = None) -> Iterator[Present]:
    """Yields the policy of every component. One that was deleted meanwhile is left out, and so is one that is damaged: `on_damage`
    gets its error, otherwise a person reads it. Raises RampdError.
    """
    from rampd.errors import RampdError  # noqa: PLC0415 - it is slow to import

    admin = session.admin()
    for listed in admin.list_rollouts(page_size=1000):
        try:
            yield present(admin, listed.component)
        except RampdError as error:
            if is_gone(error):
                continue
            if not is_damaged(error):
                raise
            if on_damage is not None:
                on_damage(error)
            else:
                tell_left_out(session, error)


def tell_left_out(session: "Session", error: "RampdError") -> None:
    """Says that a damaged component is left out."""
    from rampd._contract.wording import one_line  # noqa: PLC0415 - few commands ask for all

    session.tell(f"rampd: left out: {one_line(error.message)}")


def planned(session: "Session", found: Iterable[WrittenPolicy], *, prune: bool = False) -> list[Planned]:
    """Compares what files want with what the server has. With `prune` also for every component that no file names. Raises
    RampdError.
    """
    from rampd import v1  # noqa: PLC0415 - it is slow to import

    plans = [_planned(has, each.policy, each) for each, has in _present(session.admin(), found)]
    if prune:
        named = {each.component for each in plans}
        plans += [
            each
            for has in every(session)
            if has.component not in named and (each := _planned(has, v1.Policy(), None)).differences
        ]
    return plans


def _present(admin: "Admin", found: Iterable[WrittenPolicy]) -> list[tuple[WrittenPolicy, Present]]:
    """Asks for the policy of each component. If some do not exist, the person reads the line of each. Raises RampdError."""
    from rampd.errors import NotFoundError  # noqa: PLC0415 - it is slow to import

    existing, first = list[tuple[WrittenPolicy, Present]](), list[NotFoundError]()
    for each in found:
        try:
            existing.append((each, present(admin, each.component)))
        except NotFoundError as error:
            first = first or [error]
            first[0].add_note(f"{each.file}:{each.line}: There is no component {each.component}.")
    if first:
        raise first[0]
    return existing


def _planned(has: Present, wanted: "v1.Policy", written: WrittenPolicy | None) -> Planned:
    return Planned(has, wanted, differences(wanted, has.own, has.all), written)


def checked(admin: "Admin", plans: Sequence[Planned], how: "How") -> tuple[list[Any], list[Problem]]:
    """Asks the server what it would answer, and writes nothing. Returns its answers, and everything that it would refuse in the
    files. Raises RampdError for any other refusal.
    """
    from rampd.errors import InvalidArgumentError  # noqa: PLC0415 - it is slow to import

    answers, problems = [], []
    for plan in plans:
        try:
            answers.append(_set(admin, plan.present, plan.wanted, how, dry_run=True))
        except InvalidArgumentError as error:
            if plan.written is None or not (found := plan.written.refused(error.violations)):
                raise
            problems += found
    return answers, problems


def set_policy(admin: "Admin", has: Present, wanted: "v1.Policy", how: "How") -> Any:
    """Sets a whole policy, if the component still has the policy that was read. Raises RampdError; REVISION_MISMATCH if the
    policy has changed.

    A rollout under way gets a new revision with every step. So after REVISION_MISMATCH, the policy itself is compared, unless the
    person expects the revision.
    """
    from rampd.errors import AbortedError  # noqa: PLC0415 - it is slow to import

    if how.dry_run or how.expect_revision is not None:
        return _set(admin, has, wanted, how, dry_run=how.dry_run)
    guard = has
    for _ in range(_TRIES - 1):
        try:
            return _set(admin, guard, wanted, how)
        except AbortedError:
            now = present(admin, has.component)
            if now.own != has.own:
                raise
            guard = replace(has, revision=now.revision)
    return _set(admin, guard, wanted, how)


def _set(admin: "Admin", guard: Present, wanted: "v1.Policy", how: "How", *, dry_run: bool = False) -> Any:
    method: Any = admin.set_policy
    return method(
        guard.component,
        wanted,
        update_mask=[field.name for field in wanted.DESCRIPTOR.fields],
        dry_run=dry_run,
        **how.arguments() | {"expected_revision": None if dry_run else guard.revision},
    )
