"""Damage: why a component can't be read. It does not affect other components."""

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
    """When the store last confirmed the component's last good state, by the monotonic clock."""


def shown(text: str) -> str:
    """Shortens and escapes a text about damage. The text may quote a field of any length and with any bytes."""
    return text[:_MAX_SHOWN].encode("utf-8", "backslashreplace").decode()


def damage_of(component: str, error: Exception) -> StoreCorruptError:
    """Returns an error as the damage of the component that was read. Raises the error if the whole store fails."""
    if isinstance(error, StoreUnavailableError | StoreResetError):
        raise error
    if isinstance(error, StoreCorruptError):
        return error
    _log.error("component_not_read", component=component, exc_info=error)
    problem = f"The data of {component} can't be read because of a defect of rampd ({type(error).__name__}): see the server's log."
    return StoreCorruptError(
        f"{problem} Report the defect. Until it is fixed, look at the data with redis-cli, or restore the component from a backup. "
        f"{begin_again(component)}",
        key=component,
        problem=problem,
    )
