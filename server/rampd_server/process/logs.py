"""The log: one line per event on standard error, text for people, JSON for programs.

An event has a stable name (`server_started`) and key-value pairs. Values that change stand in the pairs, never in the
name.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from rampd._contract.wording import one_line
from rampd_server.process.config import LogFormat, LogLevel
from rampd_server.tracing import switch

_PASSWORD = re.compile(r"(?<=://)([^\s:/@\"']*):[^\s/@\"']+@")
_TOKEN = re.compile(r"rampd_[0-9A-Za-z]{20,}|\beyJ[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
"""A token of rampd, also one that was cut, or a JSON web token."""


def configure(log_format: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Sends the events of structlog, and the log records of libraries, to `stream` (default: standard error).

    May be called again; the last call counts. A token, and a password in a URL, are replaced by `***` everywhere in a line,
    also in tracebacks.
    """
    _leave_headers_out()
    out = sys.stderr if stream is None else stream
    is_text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and out.isatty())
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_trace(switch.place()),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S" if is_text else "iso", utc=not is_text, key="time"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_text(colors=out.isatty()) if is_text else _json()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # `debug` is for rampd's own events: gRPC, asyncio and redis would fill the log with theirs.
    root.setLevel(logging.INFO if level is LogLevel.DEBUG else level.upper())
    for own in ("rampd", "rampd_server"):
        logging.getLogger(own).setLevel(level.upper())
    for chatty in ("httpx", "httpcore"):  # a line for each request, and for each of its parts
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # A line for each call with a wrong `traceparent` or `tracestate`, which whoever reaches the port can send.
    for wordy in ("opentelemetry.trace.propagation.tracecontext", "opentelemetry.trace.span"):
        logging.getLogger(wordy).setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


def _with_trace(place: Callable[[], Mapping[str, str]]) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.update(place())
        return event

    return add


def _text(*, colors: bool) -> list[Processor]:
    # The plain formatter, because the default one of structlog shows local variables, which may hold secrets.
    console = structlog.dev.ConsoleRenderer(
        colors=colors, timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
    )
    return [_event_on_one_line, _presentable(console, keep="\n\t\x1b" if colors else "\n\t")]


def _json() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        _presentable(structlog.processors.JSONRenderer(default=str, ensure_ascii=False)),
    ]


def _event_on_one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Puts the event on one line: the message of a library is the event, and the renderer does not quote it."""
    event["event"] = one_line(str(event["event"]))
    return event


def _presentable(render: Processor, *, keep: str = "") -> Processor:
    """Removes tokens and passwords, and escapes characters that could make one line look like several. `keep` are the characters
    that the renderer needs. In JSON these characters stand only inside strings, where an escape means the same.
    """

    def rendered(logger: WrappedLogger, method: str, event: EventDict) -> str:
        line = _TOKEN.sub("***", str(render(logger, method, event)))
        return one_line(_PASSWORD.sub(r"\1:***@", line), keep=keep)

    return rendered


def hand_to_standard_library() -> None:
    """Sends events to `logging`, for a server in a process of another program. That program decides what to do with
    them.
    """
    _leave_headers_out()
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                _with_trace(switch.place()),
                structlog.stdlib.render_to_log_kwargs,
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )


def _leave_headers_out() -> None:
    """A header that is not UTF-8 is logged as a whole by gRPC, `authorization` too, as often as somebody sends one."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_header)


def _is_no_header(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding on")
