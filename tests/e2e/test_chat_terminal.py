"""``operator-svc chat`` at a terminal, as people use it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import termios

import pytest

from operator_client import OperatorClient
from tests.cluster.processes import TOKEN, Pod
from tests.e2e.chat_calls import CHAT, CuttingProxy, run
from tests.fakes.eventually import eventually

pytestmark = pytest.mark.usefixtures("state_folder")

PROMPT = "\x1b[?2004h"
"""Bracketed paste is switched on: a line is read."""


class Terminal:
    """A person at a terminal of 24 lines."""

    def __init__(self, url: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:  # the child: it becomes the command
            os.environ.update(OPERATOR_TOKEN=TOKEN, TERM="xterm", COLUMNS="100", LINES="24")
            arguments = [*CHAT, "--url", url, "--session", "talk"]
            os.execv(CHAT[0], arguments)  # noqa: S606
        termios.tcsetwinsize(self._fd, (24, 100))
        os.set_blocking(self._fd, False)
        self.seen = self.all = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    async def begin(self) -> None:
        """Wait for the first prompt."""
        await self.until("session talk")
        await self.until(PROMPT)

    async def say(self, line: str, *wanted: str) -> None:
        """Type a line, and wait for what is ``wanted`` of the answer to it and for the prompt."""
        self.type(f"{line}\r")
        for words in (*wanted, PROMPT):
            await self.until(words)

    async def until(self, wanted: str) -> None:
        """Wait for ``wanted`` in what came after the last find."""

        def seen() -> bool:
            with contextlib.suppress(BlockingIOError):
                read = os.read(self._fd, 65536).decode(errors="replace")
                for _ in range(read.count("\x1b[6n")):
                    self.type("\x1b[1;1R")  # it is asked where its cursor is
                self.seen += read
                self.all += read
            assert wanted in self.seen, f"{wanted!r} is not in {self.seen!r}"
            return True

        await eventually(seen)
        self.seen = self.seen.partition(wanted)[2]

    async def end(self) -> int:
        def status() -> list[int]:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            return [os.waitstatus_to_exitcode(code)] if pid else []

        try:
            (code,) = await eventually(status)
        except AssertionError:
            os.kill(self.pid, signal.SIGKILL)
            raise
        return code


async def test_a_talk_goes_on_until_its_user_leaves(pod: Pod) -> None:
    terminal = Terminal(pod.url)
    await terminal.begin()
    await terminal.say("what is **bold**?", "You said: what is")
    terminal.type("slow " * 40 + "[[rate=5]]\r")
    await terminal.until("You said: slow")
    terminal.type("typed ahead")
    terminal.type("\x03")
    await terminal.until("(cancelled)")
    # What is shown in a region that is redrawn moves it: nothing that is typed may be.
    assert "^C" not in terminal.all
    assert "typed ahead" not in terminal.all
    await terminal.until(PROMPT)
    terminal.type("/history 3\r")
    await terminal.until("assistant (cancelled):")
    terminal.type("/session bad id\r")
    await terminal.until("'bad id' is not a valid session id")
    terminal.type("/session other\r")
    await terminal.until("session other")
    await terminal.say("/session talk\r/help\r/nonsense", "/nonsense is not a command")
    terminal.type("\x03")
    await terminal.until("/quit to exit")
    await terminal.until(PROMPT)
    await terminal.say("still here", "You said: still here")
    await terminal.say("/regenerate", "You said: still here")
    await terminal.say("/sessions", "talk")
    terminal.type("\x04")
    assert await terminal.end() == 0
    async with OperatorClient(pod.url, TOKEN) as client:
        page = await client.get_session("talk")
        said = [(m.content.removeprefix("[stand-in] You said: "), m.status) for m in page.messages]
        assert said[-3:] == [("still here", "complete")] * 3
        assert said[3][1] == "cancelled"


async def test_lines_that_are_pasted_or_typed_after_multi_are_one_message(pod: Pod) -> None:
    terminal = Terminal(pod.url)
    await terminal.begin()
    terminal.type("\x1b[200~one\ntwo\nthree\x1b[201~")
    await terminal.until("three")
    await terminal.say("", "You said: one")
    await terminal.say("/multi", "Esc and then Enter")
    terminal.type("four\rfive")
    await terminal.until("five")
    await terminal.say("\x1b", "You said: four")
    terminal.type("/quit\r")
    assert await terminal.end() == 0
    async with OperatorClient(pod.url, TOKEN) as client:
        page = await client.get_session("talk")
    assert [m.content for m in page.messages[::2]] == ["one\ntwo\nthree", "four\nfive"]


async def test_a_lost_connection_is_said_in_a_line_and_ctrl_c_leaves_it_cleanly(pod: Pod) -> None:
    proxy = CuttingProxy(pod.url)
    server = await proxy.start()
    terminal = Terminal(proxy.url)
    await terminal.begin()
    terminal.type("wait [[stall_first]]\r")

    async def asked() -> bool:
        async with OperatorClient(pod.url, TOKEN) as client:
            return [one.message_count for one in (await client.list_sessions()).sessions] == [2]

    await eventually(asked)
    server.close()
    proxy.cut()
    await terminal.until("the connection is lost; reconnecting, attempt 2")
    terminal.type("\x03")
    await terminal.until("(not waited for;")
    await terminal.until(PROMPT)
    async with await proxy.start(int(proxy.url.rpartition(":")[2])):
        await terminal.until("back")
        await terminal.say("/session", "session talk")
        terminal.type("\x04")
        assert await terminal.end() == 0
    await pod.end(signal.SIGKILL)  # it would wait for the reply that stalls


async def test_a_model_cannot_control_the_terminal(pod: Pod) -> None:
    """By bytes, nor by Markdown's entities; what people are shown of it is one sign each."""
    message = "a\x1b]0;owned\x07b &#27;]0;owned&#7; &#155;31m c\x9b31m [x](http://h/&#27;]0;owned)"
    for arguments in ((), ("--plain",)):
        _, out, _ = await run(pod, message, *arguments)
        assert "\x1b" not in out
        assert "a\N{REPLACEMENT CHARACTER}]0;owned" in out
    terminal = Terminal(pod.url)
    await terminal.until("session talk")
    async with OperatorClient(pod.url, TOKEN) as client:
        await client.chat({"message": message, "session_id": "talk"})
    await terminal.until(PROMPT)
    terminal.type("/history\r")
    await terminal.until("user:")
    await terminal.until("assistant:")
    await terminal.until("http://h/")
    await terminal.until(PROMPT)
    shown = terminal.all
    terminal.type("\x04")
    assert await terminal.end() == 0
    assert "owned" in shown
    assert "\x1b]" not in shown
    assert not re.search("[\x07\x80-\x9f]", shown)
