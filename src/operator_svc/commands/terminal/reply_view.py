"""A reply on its way to a terminal or a pipe."""

from __future__ import annotations

import contextlib
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Protocol, Self

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner

from operator_client import Reply
from operator_svc.commands.terminal.text import printable, write_out

REFRESH = 12
"""Redraws a second while Markdown streams."""
LINES, CHARACTERS = 100, 20_000
"""The end of an unfinished block that is rendered; a screen shows no more of it."""
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
_BLOCKS = MarkdownIt("commonmark", {"html": False}).enable("table").disable("inline")


class ReplyPrinter(Protocol):
    """A place where a reply is shown while it grows; a context manager around one turn."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    async def follow(self, reply: Reply) -> None:
        """Show ``reply`` until its end. Raises ClientError."""

    def finish(self, text: str) -> None:
        """Show what of the whole ``text`` was not shown."""

    def note(self) -> None:
        """Show the state of the connection, which is another."""


class PlainView:
    """Text as it comes. What is said of the connection goes to stderr, where that is a terminal."""

    def __init__(self, state: Callable[[], str]) -> None:
        self._state = state
        self._given = 0
        self._noted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end_note()

    async def follow(self, reply: Reply) -> None:
        """See ReplyPrinter."""
        async for piece in reply:
            self._end_note()
            write_out(printable(piece))
            self._given += len(piece)

    def finish(self, text: str) -> None:
        """See ReplyPrinter."""
        write_out(printable(text[self._given :]) + "\n")

    def note(self) -> None:
        """See ReplyPrinter."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K" if self._noted else "\n")
            sys.stderr.write(f"({self._state()})")
            sys.stderr.flush()
            self._noted = True

    def _end_note(self) -> None:
        if self._noted:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._noted = False


class MarkdownView:
    """Markdown: blocks that are finished are printed once, and the last one is redrawn below."""

    def __init__(self, console: Console, state: Callable[[], str]) -> None:
        self._console = console
        self._state = state
        self._reply: Reply | None = None
        self._printed = ""
        self._looked = 0.0
        self._spinner = Spinner("dots")
        self._silence = contextlib.ExitStack()
        self._live = Live(
            get_renderable=self._region, console=console, transient=True, refresh_per_second=REFRESH
        )

    def __enter__(self) -> Self:
        self._silence.enter_context(without_echo())
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._silence:
            self._live.stop()

    async def follow(self, reply: Reply) -> None:
        """See ReplyPrinter."""
        self._reply = reply
        async for _ in reply:
            if time.monotonic() - self._looked > 1 / REFRESH:
                text = printable(reply.text)
                self._print(text, last_block(text, len(self._printed)))
                self._looked = time.monotonic()

    def finish(self, text: str) -> None:
        """See ReplyPrinter. A text changed by a loss of commits is printed again."""
        self._live.stop()
        text = printable(text)
        if not text.startswith(self._printed):
            self._printed = ""
        self._print(text, len(text))

    def note(self) -> None:
        """See ReplyPrinter: the next redraw has it."""

    def _print(self, text: str, end: int) -> None:
        """Print the blocks of ``text`` up to ``end``, which has no unfinished one before it."""
        before, block = self._printed, text[len(self._printed) : end]
        if not text.startswith(before) or not block.strip():
            return
        # Rich finds out where the region begins, and moves there when it writes: a redraw between
        # these would leave lines behind. Redraws of its thread hold this lock.
        with self._live._lock:
            self._printed = text[:end]
            if before:
                self._console.print()
            self._console.print(markdown(block))

    def _region(self) -> RenderableType:
        """The part that is redrawn: the unfinished block, and a line on what is waited for."""
        state, parts = self._state(), list[RenderableType]()
        text = printable(self._reply.text) if self._reply is not None else ""
        rest = text[len(self._printed) :]
        if rest.strip():
            parts.append(_Bottom(markdown(_newest(rest)), spaced=bool(self._printed)))
        if state or not text:
            self._spinner.text = state
            parts.append(self._spinner if state != "back" else "back")
        return Group(*parts)


@contextlib.contextmanager
def without_echo() -> Iterator[None]:
    """Let the terminal not show what is typed: a ``^C`` or a line break in a region that is redrawn
    would move it by a line, and leave its first line behind. What is typed waits for the prompt."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def markdown(text: str) -> RenderableType:
    """``text`` rendered: HTML stays text, links show their address, nothing controls a terminal."""
    rendered = Markdown("", hyperlinks=False)
    rendered.parsed = _PARSER.parse(printable(text))
    return _Printable(rendered)


def last_block(text: str, start: int) -> int:
    """The index at which the last block of Markdown begins in ``text``, from ``start`` on."""
    first = 0
    for token in _BLOCKS.parse(text[start:]):
        if token.level == 0 and token.map is not None:
            first = token.map[0]
    at = start
    for _ in range(first):
        at = text.index("\n", at) + 1
    return at


def _newest(block: str) -> str:
    """The end of a block that is longer than a screen; code keeps its first line, the fence."""
    lines = block.splitlines()
    if len(lines) <= LINES and len(block) <= CHARACTERS:
        return block
    fence = [lines[0]] if lines[0].lstrip().startswith(("```", "~~~")) else []
    return "\n".join([*fence, "\n".join(lines[-LINES:])[-CHARACTERS:]])


class _Printable:
    """A renderable without control characters: Markdown's entities can write them."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._inner, options):
            yield Segment(text if control else printable(text), style, control)


class _Bottom:
    """The last lines of a renderable, as many as the screen takes."""

    def __init__(self, inner: RenderableType, *, spaced: bool) -> None:
        self._inner = inner
        self._spaced = spaced

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._inner, options.update(height=None), pad=False)
        if self._spaced:
            lines.insert(0, [])
        for line in lines[-max(console.height - 3, 1) :]:
            yield from line
            yield Segment.line()
