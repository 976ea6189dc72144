"""A dry run goes only to a server that knows dry runs. An older server would ignore the field, and make the change."""

from rampd import v1
from rampd.errors import UnimplementedError

_FLAG = "dry_run"


def is_known_to(who_am_i: v1.WhoAmIResponse) -> bool:
    """Whether the server that gave this answer makes dry runs."""
    return _FLAG in who_am_i.flags


def not_known(target: str) -> UnimplementedError:
    """Returns the error of a dry run that was not sent."""
    return UnimplementedError(
        f"The server at {target} is too old for a dry run: it would make the change. Nothing was sent. Update the server, or make the "
        "call without a dry run."
    )
