"""A real rampd server for tests of a launcher, with a store of its own that goes when it goes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory

from rampd.admin import Admin
from rampd.resolver import Resolver

_HINT = "rampd_server needs rampd's server, which is not installed: pip install 'rampd[server]'"


class ServerNotInstalledError(RuntimeError):
    """Raised when there is no server to run in this environment."""


class RampdServer:
    """A server that runs. What is made of it here is closed with it."""

    def __init__(self, target: str, stack: ExitStack) -> None:
        self.target = target
        """For `Resolver`, `Admin`, and their asyncio twins."""
        self._stack = stack

    def resolver(self) -> Resolver:
        """A new resolver of this server."""
        return self._stack.enter_context(Resolver(self.target))

    def admin(self, *, actor: str = "") -> Admin:
        """A new admin of this server, who may do everything."""
        return self._stack.enter_context(Admin(self.target, actor=actor))


@contextmanager
def running_server() -> Iterator[RampdServer]:
    """Runs a server in this process, on an embedded store in a temporary folder, for as long as the block lasts.

    Raises ServerNotInstalledError.
    """
    run = _find()
    with ExitStack() as stack:
        # Not below pytest's folders: their paths may be too long for the store's unix socket.
        directory = stack.enter_context(TemporaryDirectory(prefix="rampd-"))
        target = stack.enter_context(run(Path(directory)))
        yield RampdServer(target, stack)


def _find() -> Callable[[Path], AbstractContextManager[str]]:
    # The client must not import the server, so the server says by an entry point what runs it.
    found = list(entry_points(group="rampd.testing", name="server"))
    if not found:
        raise ServerNotInstalledError(_HINT)
    try:
        run: Callable[[Path], AbstractContextManager[str]] = found[0].load()
    except ImportError as error:
        raise ServerNotInstalledError(f"{_HINT} ({error})") from error
    return run
