"""A long reply on a small terminal: its blocks are printed once, and the last one stays live."""

from __future__ import annotations

import asyncio
import io
import re
import threading
import time
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from operator_client import Reply
from operator_svc.commands.terminal.reply_view import REFRESH, MarkdownView, PlainView, last_block
from tests.fakes.eventually import eventually

CONTROL = re.compile(r"\x1b\[(\?25[hl]|1A|2K|[\d;]*m)|([\r\n])|([^\x1b\r\n]+)")
TEXT = "\n\n".join([*(f"Paragraph {n}." for n in range(60)), "```\n" + "code\n" * 80 + "last\n```"])


class Screen:
    """The lines of a terminal, as far as what is written moves its cursor: up, and to the start."""

    def __init__(self, height: int) -> None:
        self.lines = [""]
        self.at = self.column = 0
        self.height = height

    def take(self, written: str) -> None:
        for found in CONTROL.finditer(written):
            escape, move, text = found.groups()
            if move == "\n":
                self.at += 1
                if self.at == len(self.lines):
                    self.lines.append("")
            elif escape == "1A":
                self.at -= 1
                assert self.at >= len(self.lines) - self.height, "it moves above the screen"
            elif escape == "2K":
                self.lines[self.at] = ""
            elif text:
                line = self.lines[self.at]
                self.lines[self.at] = line[: self.column] + text + line[self.column + len(text) :]
            self.column = 0 if move else self.column + len(text or "")
        del self.lines[self.at + 1 :]


async def test_a_long_reply_is_printed_once_and_its_last_block_is_live() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=60, height=20)
    view, reply = MarkdownView(console, lambda: ""), Reply(1)
    with view:
        following = asyncio.create_task(view.follow(reply))
        for start in range(0, len(TEXT), 9):
            piece = TEXT[start : start + 9]
            reply.append(start, start + len(piece), piece)
            await asyncio.sleep(0.002)  # the view redraws by the clock
            if start == 450:
                await eventually(lambda: "Paragraph 29." in written.getvalue())  # while it grows
        reply.finish("complete", TEXT, {})
        await following
        view.finish(reply.text)
    screen = Screen(20)
    screen.take(written.getvalue())
    lines = [line.strip() for line in screen.lines if line.strip()]
    assert lines == [*(f"Paragraph {n}." for n in range(60)), *["code"] * 80, "last"]


async def test_a_redraw_while_a_block_is_printed_leaves_no_line_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rich finds out where the region begins before it writes the block."""
    found = Live.process_renderables

    def slowly(live: Live, renderables: list[Any]) -> list[Any]:
        placed = found(live, renderables)
        if threading.current_thread() is threading.main_thread():
            time.sleep(3 / REFRESH)  # time for redraws of what has grown
        return placed

    monkeypatch.setattr(Live, "process_renderables", slowly)
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=60, height=20)
    view, reply = MarkdownView(console, lambda: ""), Reply(1)
    text = "one\n\n" + "\n".join(f"- {n}" for n in range(8))
    with view:
        reply.append(0, 3, "one")
        following = asyncio.create_task(view.follow(reply))
        await eventually(lambda: "one" in written.getvalue())  # it is the region, of one line
        reply.append(3, len(text), text[3:])
        reply.finish("complete", text, {})
        await following
        view.finish(reply.text)
    screen = Screen(20)
    screen.take(written.getvalue())
    lines = [line.strip(" •") for line in screen.lines if line.strip()]
    assert lines == ["one", *map(str, range(8))]


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("one", "one"),
        ("one\n\ntwo\nmore", "two\nmore"),
        ("one\n\n- a\n\n- b", "- a\n\n- b"),
        ("one\n\n```\na\n\nb", "```\na\n\nb"),
        ("# one\n| a |\n| - |\n| b |", "| a |\n| - |\n| b |"),
        ("", ""),
    ],
)
def test_the_last_block_is_what_may_still_change(text: str, last: str) -> None:
    assert text[last_block(text, 0) :] == last


async def show(view: MarkdownView | PlainView, begun: str, ended: str) -> None:
    """Show a reply that has begun, and then its end."""
    reply = Reply(1)
    with view:
        reply.append(0, len(begun), begun)
        following = asyncio.create_task(view.follow(reply))
        await asyncio.sleep(0)
        reply.finish("complete", ended, {})
        await following
        view.finish(reply.text)


async def test_a_text_that_a_snapshot_changed_is_shown_anew() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=60, height=20)
    view = MarkdownView(console, lambda: "")
    await show(view, "one\n\ntwo\n\nx", "other")
    screen = Screen(20)
    screen.take(written.getvalue())
    assert [line.strip() for line in screen.lines if line.strip()] == ["one", "two", "other"]


async def test_plain_text_is_written_once_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await show(PlainView(lambda: ""), "a\x1b[1m", "a\x1b[1m and more")
    assert capsys.readouterr().out == "a\N{REPLACEMENT CHARACTER}[1m and more\n"
