"""A list, such as the overrides of a component: a table for a person, a line each for a pipe."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rampd_cli.shown import Shown

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console


def listing(
    data: "Message | Mapping[str, Any]",
    rows: Iterable[Sequence[str]],
    *,
    titles: Sequence[str],
    drawn: Iterable[Sequence[str]],
    nothing: str,
    whole: str = "",
) -> Shown:
    """Returns a list. `rows` are for a pipe. `titles` and `drawn` are the table for a person, who reads `nothing` if it is empty.
    `whole` is the title of the column that gets its room first. It is not broken unless it needs more than half of the terminal.
    """

    def draw(console: "Console") -> None:
        from rich.table import Table  # noqa: PLC0415 - it is slow to import, and a pipe does not need it
        from rich.text import Text  # noqa: PLC0415 - as above

        from rampd._contract.wording import one_line  # noqa: PLC0415 - as above
        from rampd_cli.drawing.palette import FAINT  # noqa: PLC0415 - as above
        from rampd_cli.drawing.paragraph import say  # noqa: PLC0415 - as above

        table = Table(box=None, pad_edge=False, header_style=FAINT, padding=(0, 2, 0, 0))
        cells = [[Text(one_line(cell)) for cell in row] for row in drawn]
        for place, title in enumerate(titles):
            longest = max((row[place].cell_len for row in cells), default=0)
            is_whole = title == whole and longest <= console.width // 2
            table.add_column(title.upper(), overflow="fold", no_wrap=is_whole)
        for row in cells:
            table.add_row(*row)
        if table.row_count:
            console.print(table)
        else:
            say(console, one_line(nothing))

    return Shown(data, rows, draw)


def rfc3339(message: "Message", field: str) -> str:
    """Writes a time of a message as the JSON of the API does. Empty if it is absent."""
    time: Any = getattr(message, field)
    return str(time.ToJsonString()) if message.HasField(field) else ""
