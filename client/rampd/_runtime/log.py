"""The log of this library: the logger `rampd`."""

import logging

from rampd._contract.wording import one_line

log = logging.getLogger("rampd")
# Where a program has not set up logging, Python would print warnings to its standard error.
log.addHandler(logging.NullHandler())


class _OnOneLine(logging.Filter):
    """What servers, files and settings say stands on one line of a log, whoever writes it."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if (safe := one_line(text)) != text:
            record.msg, record.args = safe, ()
        return True


log.addFilter(_OnOneLine())
