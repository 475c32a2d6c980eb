"""The log: its form, what it masks, and what of the libraries' words it keeps out."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog
from aiohttp.http_exceptions import InvalidHeader

from operator_svc import logs
from tests.unit.conftest import lines


def test_a_line_is_one_json_object_with_time_level_logger_and_bound_ids(
    stream: io.StringIO,
) -> None:
    logs.configure("info", "json", stream)
    structlog.contextvars.bind_contextvars(request_id="r1", session_id="s1")
    structlog.get_logger("operator_svc.x").info("ready", url="http://127.0.0.1:1")
    structlog.get_logger("operator_svc.x").debug("not at this level")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "ready",
        "logger": "operator_svc.x",
        "url": "http://127.0.0.1:1",
        "request_id": "r1",
        "session_id": "s1",
    }


def test_an_exception_stands_once_and_without_local_variables(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)

    def fail() -> None:
        message = "".join(["what a user ", "wrote"])
        raise ValueError(len(message))

    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(stream)
    assert line["exception"].count("ValueError: 17") == 1
    assert "what a user wrote" not in stream.getvalue()


def test_libraries_are_rendered_alike(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    structlog.contextvars.bind_contextvars(request_id="r1")
    logging.getLogger("asyncio").error("task %s", "lost", exc_info=ValueError("x"))
    logging.getLogger("asyncio").debug("Using selector")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("task lost", "asyncio", "error")
    assert line["request_id"] == "r1"
    assert line["exception"] == "ValueError: x"


def test_a_refused_subprotocol_is_not_logged_in_clear(stream: io.StringIO) -> None:
    logs.configure("debug", "json", stream)
    logging.getLogger("aiohttp.websocket").warning("Client protocols %r", ["token.aHVzaA"])
    assert stream.getvalue() == ""


def test_a_broken_request_is_logged_without_what_it_carried(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    logging.getLogger("aiohttp.server").error(
        "Error handling request from %s", "127.0.0.1", exc_info=InvalidHeader("X-VX11-Token: hush")
    )
    (line,) = lines(stream)
    assert line["event"] == "unreadable request (InvalidHeader)"
    assert line["level"] == "info"
    assert "hush" not in stream.getvalue()


@pytest.mark.parametrize("format", ["json", "console"])
def test_what_can_not_be_encoded_is_logged_escaped(format: logs.Format) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    logs.configure("info", format, stream)
    try:
        structlog.get_logger().info("odd", text="half \ud800", kind=object, keys={1: "one"})
    finally:
        structlog.reset_defaults()
        root = logging.getLogger()
        root.handlers[:] = [h for h in root.handlers if not getattr(h, "_operator", False)]
    assert rb"half \ud800" in raw.getvalue()


def test_auto_is_console_only_on_a_terminal(stream: io.StringIO) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    logs.configure("info", "auto", stream)
    structlog.get_logger().info("to a pipe")
    assert lines(stream)[0]["event"] == "to a pipe"
    terminal = Terminal()
    logs.configure("info", "auto", terminal)
    structlog.get_logger().info("to a person", token="hush")
    assert "to a person" in terminal.getvalue()
    assert not terminal.getvalue().lstrip("\x1b").startswith("{")
    assert "hush" not in terminal.getvalue()


def test_configuring_again_replaces_the_handler(stream: io.StringIO) -> None:
    logs.configure("info", "json", io.StringIO())
    logs.configure("warning", "json", stream)
    logging.getLogger("aiohttp.server").warning("once")
    structlog.get_logger().info("below the level")
    assert [line["event"] for line in lines(stream)] == ["once"]


async def test_lines_of_a_moment_are_written_together_and_warnings_at_once() -> None:
    class Counted(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    stream = Counted()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("info", "json", stream)
    try:
        log = structlog.get_logger()
        for number in range(5):
            log.info("answered", number=number)
        logging.getLogger("asyncio").info("from a library")
        assert stream.getvalue() == ""
        await asyncio.sleep(logs.LINES_WAIT * 3)
        assert stream.writes == 1
        log.info("before")
        await asyncio.to_thread(log.info, "from a thread")
        log.info("and then")
        log.warning("trouble")
    finally:
        structlog.reset_defaults()
        root.handlers[:], root.level = handlers, level
    events = [line["event"] for line in lines(stream)]
    assert events == ["answered"] * 5 + [
        "from a library",
        "before",
        "from a thread",
        "and then",
        "trouble",
    ]


def test_what_waits_is_written_when_the_process_ends() -> None:
    program = (
        "import asyncio, structlog; from operator_svc import logs; logs.configure('info', 'json')\n"
        "async def main(): structlog.get_logger().info('last words')\n"
        "asyncio.run(main())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout)["event"] == "last words"


async def test_a_full_disk_under_the_log_stops_nobody(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    disk = Full()
    logs.configure("info", "json", disk)
    log = structlog.get_logger()
    log.info("answered")
    log.warning("trouble")
    logging.getLogger("asyncio").error("from a library")
    said = capsys.readouterr().err
    assert "2 lines of the log are lost: [Errno 28] No space left on device" in said
    assert "1 lines of the log are lost" in said
    disk.full = False
    log.warning("room again")
    assert [line["event"] for line in lines(disk)] == ["room again"]


def test_no_line_of_many_threads_is_lost_or_torn(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    log = structlog.get_logger()

    def tell(thread: int) -> None:
        for number in range(500):
            log.info("told", thread=thread, number=number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(8)))
    told = [(line["thread"], line["number"]) for line in lines(stream)]
    assert sorted(told) == [(thread, number) for thread in range(8) for number in range(500)]
