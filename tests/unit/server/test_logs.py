"""The format of log lines, and what is never in them."""

import io
import json
import logging
import re
import warnings

import pytest
import structlog

from rampd._contract.token import new_token
from rampd._contract.wording import MISLEADING
from rampd_server.process import logs
from rampd_server.process.config import LogFormat, LogLevel
from rampd_server.process.redis_url import RedisUrl
from tests.logging_as_before import logging_as_before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before():
    with logging_as_before():
        yield


def lines(out: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_log_line_is_json_unless_it_goes_to_a_terminal():
    logs.configure(LogFormat.AUTO, LogLevel.INFO, out := io.StringIO())
    structlog.get_logger("rampd_server.app").info("server_started", listen="127.0.0.1:1", count=2)
    [line] = lines(out)
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "server_started",
        "level": "info",
        "logger": "rampd_server.app",
        "listen": "127.0.0.1:1",
        "count": 2,
    }


def test_on_a_terminal_a_line_is_text():
    logs.configure(LogFormat.AUTO, LogLevel.INFO, out := Terminal())
    structlog.get_logger().info("server_started", listen="127.0.0.1:1")
    assert "server_started" in out.getvalue()
    assert "{" not in out.getvalue()


def test_the_format_can_be_asked_for_anywhere():
    logs.configure(LogFormat.JSON, LogLevel.INFO, terminal := Terminal())
    structlog.get_logger().info("a")
    logs.configure(LogFormat.TEXT, LogLevel.INFO, file := io.StringIO())
    structlog.get_logger().info("b")
    assert lines(terminal)[0]["event"] == "a"
    assert "\x1b" not in file.getvalue()
    assert not file.getvalue().startswith("{")


def test_log_lines_of_libraries_have_the_same_format():
    logs.configure(LogFormat.JSON, LogLevel.INFO, out := io.StringIO())
    logging.getLogger("redis").warning("lost %s", "the connection", extra={"port": 1})
    [line] = lines(out)
    assert (line["event"], line["logger"], line["level"], line["port"]) == (
        "lost the connection",
        "redis",
        "warning",
        1,
    )


def test_a_warning_of_python_is_a_log_line():
    logs.configure(LogFormat.JSON, LogLevel.INFO, out := io.StringIO())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert lines(out)[0]["logger"] == "py.warnings"


@pytest.mark.parametrize("level", LogLevel)
def test_lines_below_the_level_are_not_logged(level):
    logs.configure(LogFormat.JSON, level, out := io.StringIO())
    for name in LogLevel:
        getattr(structlog.get_logger("rampd_server.service.service"), name)("event")
        logging.getLogger("rampd._watching.watch_thread").log(logging.getLevelName(name.upper()), "event")
    kept = list(LogLevel)[list(LogLevel).index(level) :]
    assert [line["level"] for line in lines(out)] == [name for name in kept for _ in range(2)]


@pytest.mark.parametrize("level", LogLevel)
@pytest.mark.parametrize("library", ["grpc._cython.cygrpc", "asyncio", "redis"])
def test_debug_shows_lines_of_rampd_and_not_of_libraries(level, library):
    logs.configure(LogFormat.JSON, level, out := io.StringIO())
    for name in LogLevel:
        logging.getLogger(library).log(logging.getLevelName(name.upper()), "event")
    kept = list(LogLevel)[list(LogLevel).index(level) :]
    assert [line["level"] for line in lines(out)] == [name for name in kept if name is not LogLevel.DEBUG]


def test_a_wrong_place_in_a_trace_fills_no_log():
    propagation = pytest.importorskip("opentelemetry.trace.propagation.tracecontext")
    out = io.StringIO()
    logs.configure(LogFormat.JSON, LogLevel.INFO, out)
    propagation.TraceContextTextMapPropagator().extract({"traceparent": "x" * 3000})
    assert out.getvalue() == ""


def test_a_line_of_text_has_a_date_and_is_one_line():
    logs.configure(LogFormat.TEXT, LogLevel.INFO, out := io.StringIO())
    structlog.get_logger().info("change_committed", note="first line\nsecond\tline")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", out.getvalue())
    assert out.getvalue().count("\n") == 1
    assert r"note='first line\nsecond\tline'" in out.getvalue()


def test_an_exception_is_in_the_line_with_its_traceback():
    logs.configure(LogFormat.JSON, LogLevel.INFO, out := io.StringIO())
    structlog.get_logger().error("call_failed", exc_info=ValueError("boom"))
    [line] = lines(out)
    assert line["exception"] == "ValueError: boom"


@pytest.mark.parametrize("log_format", [LogFormat.TEXT, LogFormat.JSON])
def test_no_log_line_contains_a_password(log_format):
    url = "redis://ada:s3cret@h:6379/0"
    logs.configure(log_format, LogLevel.INFO, out := io.StringIO())

    def fails(hidden: str) -> None:
        raise ConnectionError(f"no route to {url}")

    try:
        fails(url)
    except ConnectionError:
        structlog.get_logger().exception("store_lost", url=RedisUrl(url), raw=url, nested={"url": [url]})
        logging.getLogger("redis").exception("could not reach %s", url)
    structlog.get_logger().info(f"event with {url}")
    text = out.getvalue()
    assert "s3cret" not in text
    assert text.count("redis://ada:***@h:6379/0") >= 6


@pytest.mark.parametrize("log_format", [LogFormat.TEXT, LogFormat.JSON])
@pytest.mark.parametrize(
    "token", [new_token(), "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ.c2lnbmF0dXJl"], ids=["ours", "JWT"]
)
def test_no_log_line_contains_a_token(log_format, token):
    logs.configure(log_format, LogLevel.INFO, out := io.StringIO())
    logging.getLogger("grpc").error("metadata was %s", [("authorization", f"Bearer {token}")])
    structlog.get_logger().error("call_failed", raw=f"\xff{token}"[:-2], exc_info=ValueError(token))
    assert token[6:-9] not in out.getvalue()
    assert out.getvalue().count("***") == 3


@pytest.mark.parametrize("log_format", [LogFormat.TEXT, LogFormat.JSON])
def test_a_note_of_several_lines_is_one_line_of_the_log(log_format):
    logs.configure(log_format, LogLevel.INFO, out := io.StringIO())
    structlog.get_logger().info("changed", note="fix\n\n\tthe worker\r\nserver_started", actor="a\nb")
    [line] = out.getvalue().split("\n")[:-1]
    assert r"fix\n\n\tthe worker\r\nserver_started" in line


@pytest.mark.parametrize("log_format", [LogFormat.TEXT, LogFormat.JSON])
@pytest.mark.parametrize("terminal", [False, True])
def test_no_character_forges_a_line_or_changes_its_direction(log_format, terminal):
    logs.configure(log_format, LogLevel.INFO, out := (Terminal() if terminal else io.StringIO()))
    text = f"a{MISLEADING}b"
    log = structlog.get_logger("rampd_server.service.service")
    log.info("changed", note=text, nested={"note": [text]}, error=ValueError(text))
    log.info(text)
    logging.getLogger("redis").warning("lost %s", text, extra={"note": text})

    printed = out.getvalue()
    assert printed.count("\n") == 3
    # Terminal colours are escape characters.
    allowed = "\n\x1b" if terminal and log_format is LogFormat.TEXT else "\n"
    assert not set(printed) & (set(MISLEADING) - set(allowed))
    assert printed.count("u202e") >= 5
    if log_format is LogFormat.JSON:
        assert lines(out)[0]["note"] == text
        assert lines(out)[1]["event"].startswith("a")


@pytest.mark.parametrize("log_format", [LogFormat.TEXT, LogFormat.JSON])
def test_an_exception_does_not_change_the_direction_of_a_line(log_format):
    logs.configure(log_format, LogLevel.INFO, out := io.StringIO())
    structlog.get_logger().error("call_failed", exc_info=ValueError(f"a{MISLEADING}b"))
    assert not set(out.getvalue()) & (set(MISLEADING) - {"\n", "\t"})


def test_configuring_twice_logs_once():
    logs.configure(LogFormat.JSON, LogLevel.INFO, io.StringIO())
    logs.configure(LogFormat.JSON, LogLevel.INFO, out := io.StringIO())
    structlog.get_logger().info("once")
    assert len(lines(out)) == 1


def test_after_a_test_the_lines_of_a_server_in_this_process_go_where_they_went_before() -> None:
    logs.hand_to_standard_library()
    before = structlog.get_config()
    with logging_as_before():
        logs.configure(LogFormat.JSON, LogLevel.INFO, io.StringIO())
    assert structlog.get_config() == before
