"""Logging: one line an event, as JSON in a pod and readable in a terminal.

``structlog`` writes our own events; those of libraries (aiohttp, asyncio), which use ``logging``,
come out in the same form. Ids bound with ``structlog.contextvars`` (``request_id``,
``session_id``, ``reply_id``) stand in each line. Secrets are masked here as a last guard: no
caller should log one in the first place.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import datetime as dt
import io
import json
import logging
import re
import sys
import threading
from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from operator_svc.timestamps import utc_text

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

MASK = "***"

_SECRET_KEY = re.compile(
    r"(token|secret|password|passwd|passphrase|(api|private)[_-]?key|credentials?|authorization"
    r"|cookie)$",
    re.IGNORECASE,
)
"""Names of what is secret, by their ends: ``accessToken``, ``client_secret``."""
_URL_PASSWORD = re.compile(r"(://[^\s:/@]*:|(?<!postgresql)(?<!postgres)://)[^\s/]+@")
"""A password ends with the last @ before a path: drivers take one with an @ in it. What stands
alone before the @ is often a token, but a database's user."""
_DEPTH = 4
LINES_WAIT = 0.02
"""Seconds that a line may wait to be written together with others."""
_PLAIN = frozenset({int, float, bool, type(None)})


def configure(
    level: Level = "info",
    format: Format = "auto",
    stream: TextIO | None = None,
    *,
    worker: int | None = None,
) -> None:
    """Send all logging to ``stream`` (default: stdout), from ``level`` up.

    ``auto`` is ``console`` where the stream is a terminal and ``json`` elsewhere. ``worker`` is
    the number of this process among several, for each line. May be called again: the last call
    counts, also for loggers made before it.
    """
    target = stream if stream is not None else sys.stdout
    if isinstance(target, io.TextIOWrapper):
        # A client may send what no encoding can write; logging it must not raise.
        target.reconfigure(errors="backslashreplace")
    least: int = getattr(logging, level.upper())
    lines = _Lines(target)
    is_json = format == "json" or (format == "auto" and not target.isatty())
    render = _json_line if is_json else _console(target)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *([] if worker is None else [_of_worker(worker)]),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _timestamp,
        _tracebacks,
        redact,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_NamedLoggers(lines),
        cache_logger_on_first_use=False,
    )
    _configure_stdlib(least, lines, shared, render)


_stack = structlog.processors.StackInfoRenderer()
# Plain tracebacks: the other formatters show local variables, and so message texts.
_exception = structlog.processors.ExceptionRenderer()


def _tracebacks(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Render what most lines have none of."""
    if "exc_info" in event or "stack_info" in event:
        return _exception(logger, method, _stack(logger, method, event))
    return event


def _timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the time of an event."""
    event["timestamp"] = utc_text(dt.datetime.now(dt.UTC))
    return event


def _of_worker(number: int) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["worker"] = number
        return event

    return add


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask secrets by their keys and within URLs, and leave out what is too deep for a line."""
    secret = _has_secret(tuple(event))
    for key, value in event.items():
        plain = "://" not in value if type(value) is str else type(value) in _PLAIN
        if secret or not plain:  # few of them: the others cost more to look at
            event[key] = _masked(key, value, _DEPTH)
    return event


@lru_cache(maxsize=1024)
def _has_secret(keys: tuple[str, ...]) -> bool:
    """True where one of the keys of an event names a secret; events of a kind have the same."""
    return any(map(_is_secret, keys))


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _masked(key: object, value: Any, depth: int) -> Any:
    if isinstance(key, str) and value and _is_secret(key):
        return MASK
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1{MASK}@", value) if "://" in value else value
    if type(value) in _PLAIN:
        return value
    if not depth:
        return "..."
    if isinstance(value, Mapping):
        return {k: _masked(k, v, depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple | Set):
        return [_masked(None, item, depth - 1) for item in value]
    try:
        builtins = msgspec.to_builtins(value, enc_hook=repr)
    except RecursionError:
        return "..."
    return _masked(None, builtins, depth - 1)


_encode = msgspec.json.Encoder(enc_hook=repr).encode
_FIRST = ("timestamp", "level", "event")


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    line = {name: event.get(name) for name in _FIRST}
    line.update(event)
    try:
        return _encode(line).decode()
    except (ValueError, TypeError):
        # Lone surrogates and keys that are no strings; the slower encoder writes them escaped.
        return json.dumps({str(key): value for key, value in line.items()}, default=repr)


def _console(target: TextIO) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=target.isatty(),
        pad_event_to=0,
        exception_formatter=structlog.dev.plain_traceback,
    )


class _Lines:
    """Writes lines to a file, those of a moment together.

    To write is a call of the system during which other threads take the interpreter over: one
    for each line of the access log would be one of the largest costs of a request.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._waiting: list[str] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        atexit.register(self.flush)

    def write(self, line: str) -> None:
        """Have ``line`` written within ``LINES_WAIT``; now, where this thread has no loop."""
        self._waiting.append(line + "\n")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(LINES_WAIT, self.flush)

    def write_now(self, line: str) -> None:
        """Write ``line`` and what waits before it: it may be the last one before the end."""
        self._waiting.append(line + "\n")
        self.flush()

    def flush(self) -> None:
        """Write all that waits. Where that can't be done, standard error says so: a full disk
        under the log must not stop the service."""
        self._loop = None
        with self._lock:
            # Other threads may add to the same list meanwhile.
            lines = self._waiting[:]
            del self._waiting[: len(lines)]
            try:
                if lines:
                    self._file.write("".join(lines))
                    self._file.flush()
            except (OSError, ValueError) as error:  # ValueError: the file is closed
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    sys.stderr.write(f"{len(lines)} lines of the log are lost: {error}\n")


class _NamedLogger:
    """Writes lines, and keeps the name that ``get_logger`` was given."""

    def __init__(self, lines: _Lines, name: str) -> None:
        self.name = name
        self.debug = self.info = lines.write
        self.warning = self.error = self.critical = lines.write_now


class _Handler(logging.Handler):
    """Puts what libraries log between our own lines."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            line = self.format(record)
        except Exception:  # a line that can't be made must not end what it tells of
            self.handleError(record)
            return
        if record.levelno >= logging.WARNING:
            self._lines.write_now(line)
        else:
            self._lines.write(line)


class _NamedLoggers:
    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def __call__(self, *args: Any) -> _NamedLogger:
        return _NamedLogger(self._lines, str(args[0]) if args else "operator_svc")


def _configure_stdlib(
    least: int, lines: _Lines, shared: list[Processor], render: Processor
) -> None:
    handler = _Handler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    handler.addFilter(_without_client_bytes)
    root = logging.getLogger()
    for old in root.handlers[:]:
        if getattr(old, "_operator", False):
            root.removeHandler(old)
    handler._operator = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    # At debug level libraries log about themselves (asyncio: which selector it uses).
    root.setLevel(max(least, logging.INFO))
    # Our own middleware writes the access log.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # It warns of a refused websocket subprotocol in clear, and ours may carry the token.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    # It logs each statement of a migration; we log which migrations ran.
    logging.getLogger("yoyo").setLevel(logging.WARNING)


def _without_client_bytes(record: logging.LogRecord) -> bool:
    """Keep a client's broken request out of the log: it is no fault of ours, and aiohttp's
    exception quotes the header that it could not read, which may be the token's."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and type(error).__module__ == "aiohttp.http_exceptions":
        record.msg = "unreadable request (%s)"
        record.args = (type(error).__name__,)
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True
