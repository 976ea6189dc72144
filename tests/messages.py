"""Hypothesis strategies for requests. They walk the descriptors, so that a new field is covered at once."""

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

COMPONENT = "restyler"
GOOD = {
    "component": COMPONENT,
    "confirm": COMPONENT,
    "repo": "acme/app",
    "tag": "20200409",
    "percent": 12.5,
    "release": 1,
}
"""Valid values for the fields that a request must have."""

TEXTS = st.one_of(
    st.sampled_from(
        [
            "", " ", "a b", "x\n", "\x00", "a\x7f", "{}", "naïve", "🚀", "..", "a" * 256, "A/*", "acme/*", "*",
            "20200409", "restyler", "acme/app", "-", "a" * 100_000,
        ]
    ),
    st.text(max_size=20),
)  # fmt: skip
NUMBERS = st.one_of(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31), 1000, 1001]), st.integers(-5, 200))
WIDE = st.one_of(NUMBERS, st.sampled_from([2**63 - 1, -(2**63)]))
FLOATS = st.one_of(
    st.sampled_from([0.0, 100.0, 100.01, -0.01, 12.345, 1e300, float("nan"), float("inf"), float("-inf")]),
    st.floats(0, 100),
)


def requests(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    """Returns a strategy for requests of one type. Each field is absent, valid, or hostile."""
    return st.composite(lambda draw: _fill(draw, GetMessageClass(descriptor)()))()


def _fill(draw: st.DrawFn, message: Message, depth: int = 0) -> Message:
    for field in message.DESCRIPTOR.fields:
        how = draw(st.sampled_from(["good", "good", "absent", "hostile"]))
        if how == "absent" or depth > 2:
            continue
        if how == "good" and field.name in GOOD and not _is_repeated(field):
            setattr(message, field.name, GOOD[field.name])
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            for _ in range(draw(st.integers(0, 3))):
                getattr(message, field.name)[draw(TEXTS)] = draw(TEXTS)
        elif _is_repeated(field):
            for _ in range(draw(st.integers(0, 3))):
                if field.message_type is not None:
                    _fill(draw, getattr(message, field.name).add(), depth + 1)
                else:
                    getattr(message, field.name).append(draw(_scalar(field)))
        elif field.message_type is not None:
            if how == "hostile":
                _fill(draw, getattr(message, field.name), depth + 1)
                getattr(message, field.name).SetInParent()
        else:
            setattr(message, field.name, draw(_scalar(field)))
    return message


def _is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[object]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return TEXTS
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return FLOATS
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_INT64:
            return WIDE
        case FieldDescriptor.CPPTYPE_ENUM | FieldDescriptor.CPPTYPE_INT32:
            return NUMBERS
    raise AssertionError(field.full_name)
