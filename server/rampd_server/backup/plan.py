"""What an import into a namespace with data would change: each component of the input becomes as it is there, all others stay."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, cast

from rampd_server.backup.lines import Content, InputError
from rampd_server.domain.errors import RefusedError
from rampd_server.domain.rollout.commands import Command, Ramp, Release
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.domain.rollout.moves import Context, seal
from rampd_server.domain.rollout.progress import Progress
from rampd_server.domain.rollout.transition import transition
from rampd_server.domain.wording import counted, percent
from rampd_server.ports import FieldChange, Override, Stored
from rampd_server.replica.projection import override_of
from rampd_server.replica.reading import with_overrides
from rampd_server.storage.codec import history, texts
from rampd_server.storage.codec.history_words import in_words
from rampd_server.storage.codec.patch import diff
from rampd_server.storage.store import RedisStore
from rampd_server.storage.together import Change

MAX_COMPONENTS: Final = 1_000
MAX_OVERRIDES: Final = 10_000
"""How much one merge may change, because Redis answers nobody while it runs."""
_SHOWN: Final = 20
"""How many differences of a component are shown."""


class Planned(NamedTuple):
    """A change, and how the component differs."""

    change: Change
    differences: Sequence[FieldChange]


@dataclass(slots=True)
class Plan:
    """The changes, and the names of the components that are the same already."""

    planned: list[Planned] = field(default_factory=list)
    same: list[str] = field(default_factory=list)

    @property
    def changes(self) -> list[Change]:
        return [each.change for each in self.planned]

    def lines(self) -> Iterator[str]:
        """Yields the plan for a person."""
        for change, differences in self.planned:
            if change.after is not None and isinstance(change.before.rollout, Absent):
                overrides = counted(len(change.overrides), "override")
                yield f"{change.component}: new, {_standing(change.after)}, {overrides}"
                # The tombstone of a component that the store has lost may know more bad tags than an older input.
                lifted = sorted(change.before.rollout.quarantine.keys() - change.after.quarantine.keys())
                if lifted:
                    yield f"    no longer quarantined: {', '.join(lifted)}"
                continue
            yield f"{change.component}: different"
            for each in differences[:_SHOWN]:
                yield f"    {each.field}: {_shown(each.before)} -> {_shown(each.after)}"
            if len(differences) > _SHOWN:
                yield f"    and {len(differences) - _SHOWN:,} more"
        if self.same:
            yield f"{counted(len(self.same), 'component')} of the input: the same already"


async def make(store: RedisStore, content: Content, context: Context) -> Plan:
    """Raises InputError if the input can't be merged; StoreUnavailableError, StoreResetError, StoreCorruptError."""
    plan = Plan()
    for given, overrides in content.components:
        stored = await store.read(given.component)
        known = await _overrides(store, stored)
        if content.is_table:
            now = replace(context, freeze_all=stored.namespace.freeze)
            change = Change(given.component, stored, _after_table(stored.rollout, given, now))
        else:
            change = Change(given.component, stored, _after(stored.rollout, given, context), _changes(known, overrides))
        after = change.after
        if after is None and not change.overrides:
            plan.same.append(given.component)
        else:
            plan.planned.append(Planned(change, _differences(change, known)))
    number = sum(len(change.overrides) for change in plan.changes)
    if len(plan.changes) > MAX_COMPONENTS or number > MAX_OVERRIDES:
        raise InputError(
            f"{counted(len(plan.changes), 'component')} and {counted(number, 'override')} differ, and at once only {MAX_COMPONENTS:,} "
            f"and {MAX_OVERRIDES:,} can be merged. Nothing was changed. Import into an empty namespace without --merge."
        )
    return plan


def _after(before: Rollout | Absent, given: Rollout, context: Context) -> Rollout | None:
    """Returns the state to commit, or None if it is there already. Raises InputError."""
    if isinstance(before, Rollout):
        if _compared(before) == _compared(given):
            return None
        for number, release in before.releases.items():
            other = given.releases.get(number, release)
            if other.tag != release.tag:
                raise InputError(
                    f"Release {number} of {given.component} is {release.tag} here and {other.tag} in the input: these are two components "
                    f"of one name. Nothing was changed. Delete {given.component} first, or take it out of the input."
                )
    trial = before.trial if isinstance(before, Rollout) and before.next == given.next else 0
    after = replace(
        given,
        last_number=max(before.last_number, given.last_number),
        trial=given.trial if given.next is None else max(trial, given.trial) + 1,
        timeline=before.timeline if isinstance(before, Rollout) else (),
        current_revision=before.current_revision if isinstance(before, Rollout) else 0,
        lost=before.lost if isinstance(before, Rollout) else (),
        entry=before.entry,
        state_entry=before.state_entry,
    )
    # Revisions that somebody has seen, here or there, are not used again.
    revision = max(before.revision, given.revision)
    return seal(replace(before, revision=revision), after, context)


def _after_table(before: Rollout | Absent, given: Rollout, context: Context) -> Rollout | None:
    """As `_after`, for a table: all that it does not say stays. What it says is done as if somebody had typed Release and Ramp."""
    after = before
    try:
        if isinstance(after, Absent):
            after = _stepped(after, Release(given.current_release.tag), context)
        if after.next is None and given.next_release is not None:
            after = _stepped(after, Release(given.next_release.tag), context)
        if after.next is not None and after.basis_points != given.basis_points:
            after = _stepped(after, Ramp(given.basis_points), context)
    except RefusedError as error:
        raise InputError(f"{given.component}: {error.message} Nothing was changed.") from error
    if _tags(after) != _tags(given):
        raise InputError(
            f"{given.component} has {_standing(before)} here, and {_standing(given)} in the table. A merge of a table only moves next, or "
            f"releases it where nothing is frozen and nothing waits. Nothing was changed. Type rampd release, finalize or abandon, or take "
            f"{given.component} out of the table."
        )
    timeline = before.timeline if isinstance(before, Rollout) else ()
    return None if after is before else seal(before, replace(after, timeline=timeline), context)


def _stepped(before: Rollout | Absent, step: Command, context: Context) -> Rollout:
    return cast("Rollout", transition(before, step, context).after)


def _tags(rollout: Rollout) -> tuple[str, str | None]:
    following = rollout.next_release
    return rollout.current_release.tag, following.tag if following else None


def _compared(rollout: Rollout) -> Rollout:
    """Returns a rollout without what differs in each store, and without how far automation is."""
    return replace(
        rollout,
        revision=0,
        last_number=0,
        entry="",
        state_entry="",
        timeline=(),
        current_revision=0,
        lost=(),
        trial=0,
        hold=None,
        progress=Progress(),
        create_ms=0,
        update_ms=0,
    )


async def _overrides(store: RedisStore, stored: Stored) -> Mapping[str, Override]:
    component = await with_overrides(store, stored, set())
    if component is None:
        return {}
    return {repo: override_of(choice) for repo, choice in component.overrides.items()}


def _changes(before: Mapping[str, Override], after: Mapping[str, Override]) -> dict[str, Override | None]:
    """Deletes come first, so that a component is never beyond its limit."""
    changed = {repo: override for repo, override in after.items() if before.get(repo) != override}
    return {**dict.fromkeys(before.keys() - after.keys()), **changed}


def _differences(change: Change, known: Mapping[str, Override]) -> list[FieldChange]:
    found = [] if change.after is None else list(history.field_changes(diff(change.before.rollout, change.after)))
    for repo, override in sorted(change.overrides.items()):
        found.append(FieldChange(f"override/{repo}", _text(known.get(repo)), _text(override)))
    return [in_words(each) for each in found]


def _text(override: Override | None) -> str | None:
    return None if override is None else texts.write_override(override)


def _standing(rollout: Rollout | Absent) -> str:
    if isinstance(rollout, Absent):
        return "no release"
    following = rollout.next_release
    return f"current {rollout.current_release.tag}" + (
        f", next {following.tag} at {percent(rollout.basis_points)}" if following else ""
    )


def _shown(text: str | None) -> str:
    return "(none)" if text is None else text or "(empty)"
