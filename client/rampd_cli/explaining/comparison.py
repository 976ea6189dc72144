"""What servers answer, beside what the state gives. Pure."""

from dataclasses import dataclass
from datetime import timedelta

from rampd import v1
from rampd._contract.wording import one_line
from rampd._decision.resolution import Resolution, ResolveReason
from rampd._standing.clock import duration
from rampd._standing.explanation import Explanation
from rampd.errors import RampdError


@dataclass(frozen=True, slots=True)
class Asked:
    """A server, and what it answered."""

    server: str
    answer: Resolution | RampdError

    @property
    def error(self) -> RampdError | None:
        """Why the server gave no answer."""
        return self.answer if isinstance(self.answer, RampdError) else None


def difference(known: Explanation, asked: Asked) -> str:
    """Says how the answer of a server differs from what the state gives. Empty if it does not."""
    answer, expected = asked.answer, known.answer
    if isinstance(answer, RampdError):
        return f"{one_line(answer.message)} ({one_line(answer.reason)})"
    parts = []
    if answer.tag != expected.tag:
        parts.append(f"not {one_line(expected.tag)}")
    if answer.reason is not expected.reason:
        parts.append(f"not {expected.reason}")
    if answer.bucket != expected.bucket:
        parts.append(f"not bucket {expected.bucket}")
    if answer.revision != expected.revision:
        is_behind = answer.revision < expected.revision
        parts.append(f"{'behind' if is_behind else 'ahead of'} revision {expected.revision}")
    if answer.reason is ResolveReason.STALE:
        parts.append("its state is too old to give next")
    return ", ".join(parts)


def age(answer: Resolution) -> str:
    """Writes how old the state of a server is: `0 s`; `unknown` if the store never confirmed it."""
    return "unknown" if answer.snapshot_age > timedelta(days=3650) else duration(answer.snapshot_age)


def message(answer: Resolution, *, has_age: bool = True) -> v1.ResolveResponse:
    """Returns an answer as the API writes it."""
    found = v1.ResolveResponse(
        tag=answer.tag,
        channel=f"CHANNEL_{answer.channel}" if answer.channel else None,
        reason=f"RESOLVE_REASON_{answer.reason}",
        release=answer.release,
        attributes=answer.attributes,
        bucket=answer.bucket,
        revision=answer.revision,
        stale=answer.stale,
    )
    if has_age and answer.snapshot_age_s <= 315_576_000_000:  # the longest duration of a message
        found.snapshot_age.FromTimedelta(answer.snapshot_age)
    return found
