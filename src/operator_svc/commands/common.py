"""Helpers of all commands: reading the settings, and running a coroutine to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn, TextIO

import click
import structlog

from operator_svc import logs, settings
from operator_svc.errors import (
    EXIT_CONFIGURATION,
    EXIT_TEMPORARY,
    ConfigurationError,
    ErrorCode,
    OperatorError,
)
from operator_svc.settings import S

log = structlog.get_logger(__name__)


def load(
    struct: type[S], environ: Mapping[str, str] | None = None, stream: TextIO | None = None
) -> S:
    """The settings from the environment, with logging set up by them and warnings logged.

    ``stream`` takes the log instead of stdout, where stdout is for a command's own words.

    Ends the process with exit code 2 and one line for each value that is not valid.
    """
    try:
        loaded, warnings = settings.load(struct, os.environ if environ is None else environ)
    except ConfigurationError as error:
        refuse(error)
    logs.configure(loaded.log_level, loaded.log_format, stream)
    for warning in warnings:
        log.warning("settings warning", problem=warning)
    return loaded


def token(environ: Mapping[str, str]) -> str:
    """The token that ``environ`` sets, by a variable or a file; empty where none does.

    Ends the process with exit code 2 where a file cannot be used.
    """
    try:
        return settings.first_token(environ)
    except ConfigurationError as error:
        refuse(error)


def refuse(error: ConfigurationError) -> NoReturn:
    """Print each fault in the settings on a line, and exit with code 2."""
    for problem in error.problems:
        click.echo(f"operator-svc: {problem}", err=True)
    sys.exit(EXIT_CONFIGURATION)


def run(work: Coroutine[Any, Any, None], event_loop: str = "auto") -> None:
    """Run ``work`` on a loop of the kind that OPERATOR_EVENT_LOOP names.

    Ends the process with exit code 2 where the settings turn out wrong, with 75 where the
    database does not answer, which may pass, and with 1, the cause in the log, where anything
    else fails.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory(event_loop)) as runner:
            runner.run(work)
    except ConfigurationError as error:
        work.close()
        refuse(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if isinstance(error, OperatorError) and error.code is ErrorCode.DATABASE_UNAVAILABLE:
            give_up(error)
        log.exception("stopped by a failure")
        sys.exit(1)


def give_up(error: OperatorError) -> NoReturn:
    """Say in one line what does not answer, and why, and end with exit code 75."""
    said, cause = error.detail, str(error.__cause__ or "")
    if cause not in said:
        said = f"{said}: {cause}"
    click.echo(f"operator-svc: {' '.join(said.split())}", err=True)
    sys.exit(EXIT_TEMPORARY)


def end_with_parent() -> None:
    """Have Linux send this process SIGTERM when its parent has ended, killed outright too."""
    if sys.platform == "linux":
        import ctypes  # for these commands alone: `serve` does without

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def end_on_sigterm() -> None:
    """End at SIGTERM until something else is set for it.

    The first process of a container would otherwise not notice one that comes early.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


async def until_stopped() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


def _loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if kind == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if kind == "uvloop":
            raise ConfigurationError(
                ["OPERATOR_EVENT_LOOP: uvloop is not installed here; auto does without it"]
            ) from None
        return None
    return uvloop.new_event_loop
