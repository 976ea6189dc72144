"""Texts that are too long for their place."""

from rampd._contract.wording import one_line


def shortened(text: str, width: int) -> str:
    """Returns a text of another person as one line of at most `width` characters. What is left out is in the middle, because
    tags differ at their beginning and at their end.
    """
    line = one_line(text)
    if len(line) <= width:
        return line
    if width < 3:
        return line[: max(width, 0)]
    head = width // 2
    return f"{line[:head]}…{line[len(line) - (width - head - 1) :]}"
