"""The command `rampd`."""

import gc
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code. `rampd_cli.failures` lists the codes."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:  # while Python still imports what knows the code and the words for it
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    # Imports make many objects and hardly any garbage. Python would look for it again and again.
    gc.set_threshold(50_000)
    from rampd_cli.ending import end_with_exception  # noqa: PLC0415 - Ctrl-C in an import is no traceback
    from rampd_cli.streams import may_be_lost, ready  # noqa: PLC0415 - as above

    end_with_exception()
    ready()
    try:
        from rampd_cli import app  # noqa: PLC0415 - an installation without the extra gets a message about the missing package
    except ModuleNotFoundError as error:
        with may_be_lost(sys.stderr):
            print(f"{error.name} is not installed. rampd needs: pip install 'rampd[cli]'", file=sys.stderr, flush=True)
        return 2
    return app.run(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
