"""Why no server answers, for a person whose command tries again."""

from typing import TYPE_CHECKING

from rampd._contract.wording import inside, one_line

if TYPE_CHECKING:
    from rampd.errors import RampdError


def why_lost(error: "RampdError") -> str:
    """Returns the first sentence of an error. What a server advises its callers after it is what the command does anyway."""
    return f"{inside(one_line(error.message).partition('. ')[0])}."
