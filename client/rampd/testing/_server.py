"""A real rampd server for tests of a launcher. Its store is deleted with it."""

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
    """A running server. It closes the resolvers and admins that its methods made."""

    def __init__(self, target: str, stack: ExitStack) -> None:
        self.target = target
        """The address for `Resolver`, `Admin`, `AsyncResolver` and `AsyncAdmin`."""
        self._stack = stack

    def resolver(self) -> Resolver:
        """Returns a new resolver for this server."""
        return self._stack.enter_context(Resolver(self.target))

    def admin(self, *, actor: str = "") -> Admin:
        """Returns a new admin for this server, which may do everything."""
        return self._stack.enter_context(Admin(self.target, actor=actor))


@contextmanager
def running_server() -> Iterator[RampdServer]:
    """Runs a server in this process, on an embedded store in a temporary folder, until the block ends.

    Raises ServerNotInstalledError.
    """
    run = _find()
    with ExitStack() as stack:
        # Not in pytest's folders, because their paths may be too long for the store's unix socket.
        directory = stack.enter_context(TemporaryDirectory(prefix="rampd-"))
        target = stack.enter_context(run(Path(directory)))
        yield RampdServer(target, stack)


def _find() -> Callable[[Path], AbstractContextManager[str]]:
    # The client must not import the server, so an entry point of the server names the function that runs it.
    found = list(entry_points(group="rampd.testing", name="server"))
    if not found:
        raise ServerNotInstalledError(_HINT)
    try:
        run: Callable[[Path], AbstractContextManager[str]] = found[0].load()
    except ImportError as error:
        raise ServerNotInstalledError(f"{_HINT} ({error})") from error
    return run
