"""Messages without their times, to compare the answers of two calls: the clock goes on between the calls."""

import re
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Made = TypeVar("Made", bound=Message)

_AGO = re.compile(r"\d+ \w+( \d+ \w+)? ago")


def timeless(message: Made) -> Made:
    """Returns a copy without times, also in its sentences."""
    copied = type(message)()
    copied.CopyFrom(message)
    _drop_times(copied)
    return copied


def timeless_text(text: str) -> str:
    """Returns a sentence that does not say how long ago something was."""
    return _AGO.sub("some time ago", text)


def _drop_times(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name == "message":
            setattr(message, field.name, timeless_text(value))
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is Timestamp.DESCRIPTOR:
            message.ClearField(field.name)
            continue
        for each in value if field.is_repeated else [value]:
            _drop_times(each)
