"""The settings of a resolver in mode `local`, checked."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rampd._calls.endpoint import Endpoint
from rampd._contract.grammar import COMPONENT, shown, word_violation
from rampd.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Settings:
    """How to resolve locally."""

    endpoint: Endpoint
    components: tuple[str, ...]
    next_max_stale_s: float
    snapshot_path: Path | None

    @property
    def target(self) -> str:
        """The address of the server."""
        return self.endpoint.target


def checked_settings(
    endpoint: Endpoint, components: Iterable[str], next_max_stale: float, snapshot_file: str | Path | None
) -> Settings:
    """Returns the settings. Raises InvalidArgumentError with every wrong field."""
    if not isinstance(components, Iterable):
        raise InvalidArgumentError(violations=[("components", f"must be names; got {shown(components)}")])
    names = (components,) if isinstance(components, str) else tuple(components)
    wrong = [
        (f"components[{index}]", text)
        for index, name in enumerate(names)
        if (text := word_violation(COMPONENT, name, required=True)) is not None
    ]
    if isinstance(next_max_stale, bool) or not isinstance(next_max_stale, int | float) or not next_max_stale >= 0:
        wrong.append(("next_max_stale", f"must be a number of seconds from 0; got {shown(next_max_stale)}"))
    if snapshot_file is not None and not isinstance(snapshot_file, str | Path):
        wrong.append(("snapshot_file", f"must be a path; got {shown(snapshot_file)}"))
    if wrong:
        raise InvalidArgumentError(violations=wrong)
    return Settings(endpoint, names, next_max_stale, None if snapshot_file is None else Path(snapshot_file))


def check_local(mode: str, name: str) -> None:
    """Raises InvalidArgumentError if the mode is not `local`."""
    if mode != "local":
        raise InvalidArgumentError(violations=[("mode", f"must be 'local' for {name}; got {shown(mode)}")])
