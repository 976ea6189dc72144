"""Whether a call was refused because its component is gone, or because the component's data is damaged."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rampd.errors import RampdError


def is_gone(error: "RampdError") -> bool:
    """Whether the component does not exist, or does not exist any more."""
    return error.reason == "COMPONENT_NOT_FOUND"


def is_damaged(error: "RampdError") -> bool:
    """Whether what the store has of the component makes no sense."""
    return error.reason == "STORE_CORRUPT"
