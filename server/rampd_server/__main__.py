"""The `rampd-server` command."""

import os
import sys
from collections.abc import Sequence

from rampd_server.process import standard_files


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0 for an orderly end, 2 if it can't start or go on as configured."""
    standard_files.open_closed()
    # Before gRPC is imported, which reads it once. gRPC writes a line for each failed TLS handshake, and whoever reaches the port
    # can cause as many of them as the log can take.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from rampd_server import command  # noqa: PLC0415 - a client-only installation gets a message about the missing package
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed. rampd-server needs: pip install 'rampd[server]'", file=sys.stderr)
        return 2
    return command.run(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
