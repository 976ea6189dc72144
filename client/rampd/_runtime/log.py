"""The log of this library: the logger `rampd`."""

import logging

from rampd._contract.wording import one_line

log = logging.getLogger("rampd")
# Without a handler, Python prints warnings to standard error in programs that have not set up logging.
log.addHandler(logging.NullHandler())


class _OnOneLine(logging.Filter):
    """Keeps every record on one line, because texts of servers, files and settings may contain line ends."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if (safe := one_line(text)) != text:
            record.msg, record.args = safe, ()
        return True


log.addFilter(_OnOneLine())
