"""Messages in frames, however the body is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.fast.frames import Frame, FrameError, Frames, LargeFrameError, framed, whole

LIMIT = 1000


def taken(*pieces: bytes, limit: int = LIMIT) -> tuple[list[Frame], Frames]:
    """The messages of a body that comes in these pieces."""
    frames, found = Frames(limit), []
    for piece in pieces:
        frames.feed(piece)
        while (frame := frames.take()) is not None:
            found.append(frame)
    return found, frames


@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_messages_are_the_same_however_the_body_is_cut(messages: list[bytes], data: st.DataObject) -> None:
    body = b"".join(map(framed, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[first:last] for first, last in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    found, frames = taken(*pieces)
    assert [frame.data for frame in found] == messages
    assert not any(frame.is_compressed for frame in found)
    assert frames.is_empty


def test_a_message_that_is_marked_says_so() -> None:
    found, _ = taken(b"\x01\x00\x00\x00\x02ab")
    assert found == [Frame(True, b"ab")]


def test_a_message_that_is_cut_off_is_not_taken_and_is_not_nothing() -> None:
    for end in range(1, 7):
        found, frames = taken(framed(b"ab")[:end])
        assert (found, frames.is_empty) == ([], False)


def test_other_flags_are_no_frame() -> None:
    with pytest.raises(FrameError):
        taken(b"\x02\x00\x00\x00\x00")


def test_a_message_that_is_too_large_is_refused_when_it_is_announced() -> None:
    assert taken(framed(bytes(LIMIT)))[0] == [Frame(False, bytes(LIMIT))]
    with pytest.raises(LargeFrameError):
        taken(framed(bytes(LIMIT + 1))[:5])


def test_the_size_of_a_message_is_known_before_it_has_come() -> None:
    _, frames = taken(framed(bytes(700))[:4])
    assert frames.announced == 0
    frames.feed(framed(bytes(700))[4:5])
    assert frames.announced == 700


@given(st.binary(max_size=40))
def test_a_body_of_one_message_is_that_message(message: bytes) -> None:
    assert whole(framed(message)) == message


@pytest.mark.parametrize(
    "body",
    [b"", framed(b"ab")[:4], framed(b"ab")[:-1], framed(b"ab") + b"c", framed(b"ab") * 2, b"\1" + framed(b"ab")[1:]],
)
def test_any_other_body_is_not_one_message(body: bytes) -> None:
    assert whole(body) is None
