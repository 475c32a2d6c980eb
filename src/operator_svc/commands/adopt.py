"""``operator-svc adopt``: VX11's legacy database into this one."""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from operator_svc.adopt.report import Report

WIDTH = 80
"""Columns of the report; numbers of nine digits in every column need more."""
TERMINAL_PAUSE = 0.2
"""Seconds between two states of the line of progress on a terminal."""


@click.command("adopt")
@click.option(
    "--from",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="VX11's legacy database, vx11.db. It is only read.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and write nothing.")
def command(path: Path, dry_run: bool) -> None:
    """Bring VX11's legacy database into OPERATOR_DATABASE_URL.

    Sessions, messages, tool calls, browser tasks and adjustments of Switch, in one transaction. May
    be run again: rows that were brought in are known. Prints what was read, written, mended and
    refused. Ends with exit code 2 where the file or the settings are at fault, and with 75 where
    the database does not answer.
    """
    from operator_svc.adopt.importer import adopt
    from operator_svc.commands import common
    from operator_svc.errors import OperatorError
    from operator_svc.settings import Settings

    common.end_on_sigterm()
    # Rows are many objects and no cycles: looking for some costs a tenth of the time.
    gc.set_threshold(100_000)
    # Nobody calls this, so it needs no token.
    settings = common.load(Settings, {**os.environ, "OPERATOR_AUTH": "off"}, sys.stderr)

    async def run() -> None:
        progress = _Progress()
        try:
            report = await adopt(settings, path, dry_run=dry_run, progress=progress)
        except OperatorError as error:
            common.give_up(error)
        finally:
            progress.end()
        _show(report, dry_run)

    common.run(run(), settings.event_loop)


class _Progress:
    """Shows how far it is: on a terminal in one line, else in a line every few seconds."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._pause = TERMINAL_PAUSE if self._terminal else 5.0
        self._started = self._shown = time.monotonic()
        self._rows = 0
        self._table = ""
        self._done = 0
        self._open = False

    def __call__(self, table: str, done: int, total: int) -> None:
        """See adopt.run.Progress."""
        self._rows += done - (self._done if table == self._table else 0)
        self._table, self._done = table, done
        now = time.monotonic()
        if now - self._shown < self._pause:
            return
        self._shown = now
        rate = self._rows / (now - self._started)
        line = f"{table}: {done:,} of {total:,} ({rate:,.0f} rows a second)"
        if self._terminal:
            # One that is longer than a line would leave its beginning behind.
            line = line[: (os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH) - 1]
        click.echo(f"\r\x1b[K{line}" if self._terminal else line, err=True, nl=not self._terminal)
        self._open = self._terminal

    def end(self) -> None:
        """Leave the line; say how long it took, where it was long enough to be shown."""
        if self._open:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._open = False
        seconds = time.monotonic() - self._started
        if seconds > self._pause:
            rate = self._rows / seconds
            click.echo(f"{self._rows:,} rows read in {seconds:.1f} s ({rate:,.0f}/s)", err=True)


def _show(report: Report, dry_run: bool) -> None:
    from operator_svc.adopt.report import COLUMNS

    rows = [("table", *COLUMNS)] + [
        (table, *(f"{getattr(counts, name):,}" for name in COLUMNS))
        for table, counts in report.tables.items()
    ]
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = [f"{number:>{width}}" for number, width in zip(numbers, others, strict=True)]
        click.echo("  ".join([f"{name:<{first}}", *cells]))
    for (table, what, why), times in sorted(report.reasons.items()):
        click.echo(click.wrap_text(f"{table}: {times:,} {what}: {why}", WIDTH, "", "    "))
    if dry_run:
        click.echo("a dry run: nothing was written")
