"""What is wrong with a component that can't be read. It takes no other component down."""

from dataclasses import dataclass

import structlog

from rampd_server.domain.errors import StoreCorruptError, StoreResetError, StoreUnavailableError, begin_again

_MAX_SHOWN = 1_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a component can't be read, and since when."""

    error: StoreCorruptError
    since_s: float
    """By the monotonic clock: when the store last confirmed what was known of the component."""


def shown(text: str) -> str:
    """A text about damage, which may quote a field of any length and any bytes, as one that can go anywhere."""
    return text[:_MAX_SHOWN].encode("utf-8", "backslashreplace").decode()


def damage_of(component: str, error: Exception) -> StoreCorruptError:
    """What an error says of the one component that was read. Raises the error where it is the whole store that fails."""
    if isinstance(error, StoreUnavailableError | StoreResetError):
        raise error
    if isinstance(error, StoreCorruptError):
        return error
    _log.error("component_not_read", component=component, exc_info=error)
    problem = f"The data of {component} can't be read, which is a defect of rampd: {type(error).__name__}, and the server's log has it."
    return StoreCorruptError(
        f"{problem} Report it; until then look at the data with redis-cli, or restore the component from a backup. "
        f"{begin_again(component)}",
        key=component,
        problem=problem,
    )
