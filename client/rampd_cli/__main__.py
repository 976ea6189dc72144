"""The command `rampd`."""

import gc
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code. `rampd_cli.failures` lists the codes."""
    # Imports make many objects and hardly any garbage. Python would look for it again and again.
    gc.set_threshold(50_000)
    from rampd_cli.streams import ready  # noqa: PLC0415 - as below

    ready()
    try:
        from rampd_cli import app  # noqa: PLC0415 - an installation without the extra gets a message about the missing package
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed. rampd needs: pip install 'rampd[cli]'", file=sys.stderr)
        return 2
    return app.run(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
