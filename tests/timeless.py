"""Messages without their times, to compare the answers of two calls: the clock goes on between the calls."""

from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Made = TypeVar("Made", bound=Message)


def timeless(message: Made) -> Made:
    """Returns a copy without times."""
    copied = type(message)()
    copied.CopyFrom(message)
    _drop_times(copied)
    return copied


def _drop_times(message: Message) -> None:
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is Timestamp.DESCRIPTOR:
            message.ClearField(field.name)
            continue
        for each in value if field.is_repeated else [value]:
            _drop_times(each)
