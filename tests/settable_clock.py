"""A clock for a store process that a test sets, by libfaketime."""

from pathlib import Path

from tests.servers import require

_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


class SettableClock:
    """The store's clock: a file that libfaketime reads at each call.

    Only Valkey runs with it. Redis does not start under libfaketime: its allocator asks for the time before the library is ready.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set_by_s(0)

    def set_by_s(self, seconds: int) -> None:
        self._path.write_text(f"{seconds:+d}")

    def environment(self) -> dict[str, str]:
        """Returns the environment that the store has to be started with."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def _library() -> Path:
    """Returns the path of libfaketime. If it is not installed, the test is skipped; in CI, the test fails."""
    require("faketime")
    return next(path for place in _PLACES for path in Path("/").glob(place.removeprefix("/")))
