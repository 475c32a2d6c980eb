"""``operator-svc chat`` and the client under it, against a real process, as people use them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from operator_svc import devpeers
from operator_svc.client import ClientError, OperatorClient
from tests.cluster.processes import TOKEN, Pod
from tests.fakes.eventually import WITHIN, eventually

CHAT = (sys.executable, "-m", "operator_svc", "chat")


@pytest.fixture
async def pod(sqlite_url: str) -> AsyncIterator[Pod]:
    async with await devpeers.start(TOKEN) as peers:
        one = Pod(
            {
                "OPERATOR_TOKEN": TOKEN,
                "OPERATOR_DATABASE_URL": sqlite_url,
                "OPERATOR_CHAT_RATE": "0",
                "OPERATOR_LOG_FORMAT": "json",
                "BROWSER_URL": "",
                **peers.environment,
            }
        )
        await one.start()
        try:
            yield one
        finally:
            await one.end()


async def run(
    pod: Pod, *arguments: str, stdin: str | None = None, token: str = TOKEN
) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *CHAT, *arguments, "--url", pod.url,
        env={**os.environ, "OPERATOR_TOKEN": token},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(
        process.communicate(stdin.encode() if stdin is not None else b""), 30
    )
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_pipes(pod: Pod) -> None:
    assert await run(pod, stdin="hi there\n") == (0, "[stand-in] You said: hi there\n", "")
    assert await run(pod, "in one word") == (0, "[stand-in] You said: in one word\n", "")
    code, out, err = await run(pod, stdin="now fail [[error]]")
    assert (code, out.strip()) == (1, "")
    assert "switch_error" in err
    code, _, err = await run(pod, stdin="")
    assert code == 2
    assert "no message" in err


async def test_a_token_in_a_file_is_used(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    monkeypatch.setenv("OPERATOR_TOKEN_FILE", str(file))
    code, out, err = await run(pod, "hello", token="")
    assert (code, "You said: hello" in out, err) == (0, True, "")
    file.unlink()
    code, out, err = await run(pod, "hello", token="")
    assert (code, out) == (2, "")
    assert "OPERATOR_TOKEN_FILE" in err
    assert "No such file" in err


async def test_no_service(pod: Pod) -> None:
    await pod.end(signal.SIGKILL)
    code, out, err = await run(pod, "anybody?")
    assert (code, out) == (1, "")
    assert f"cannot be reached at {pod.url}" in err
    assert "Traceback" not in err


class Terminal:
    """A person at a terminal."""

    def __init__(self, pod: Pod) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:  # the child: it becomes the command
            os.environ.update(OPERATOR_TOKEN=TOKEN, TERM="xterm", COLUMNS="100")
            arguments = [*CHAT, "--url", pod.url, "--session", "talk"]
            os.execv(CHAT[0], arguments)  # noqa: S606
        os.set_blocking(self._fd, False)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    async def until(self, wanted: str) -> None:
        """Wait for ``wanted`` in what came after the last find."""

        def seen() -> bool:
            with contextlib.suppress(BlockingIOError):
                self.seen += os.read(self._fd, 65536).decode(errors="replace")
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


async def test_a_talk(pod: Pod) -> None:
    terminal = Terminal(pod)
    await terminal.until("session talk")
    terminal.type("what is **bold**?\n")
    await terminal.until("You said: what is")
    await terminal.until("> ")
    terminal.type("slow " * 40 + "[[rate=5]]\n")
    await terminal.until("You said: slow")
    terminal.type("\x03")
    await terminal.until("(cancelled)")
    await terminal.until("> ")
    terminal.type("/history 3\n")
    await terminal.until("assistant (cancelled):")
    terminal.type("/session other\n")
    await terminal.until("session other")
    terminal.type("/session talk\n/help\n/nonsense\n")
    await terminal.until("/nonsense is no command")
    terminal.type("\x03")
    await terminal.until("/quit to leave")
    terminal.type("still here\n")
    await terminal.until("You said: still here")
    await terminal.until("> ")
    terminal.type("\x04")
    assert await terminal.end() == 0
    async with OperatorClient(pod.url, TOKEN) as client:
        page = await client.history("talk")
        assert [m.status for m in page.messages[1::2]] == ["complete", "cancelled", "complete"]


class CuttingProxy:
    """A TCP proxy that can be cut."""

    def __init__(self, target: str) -> None:
        self._host, self._port = target.removeprefix("http://").split(":")
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._proxy, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._host, int(self._port))
        self._writers |= {writer, up_writer}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except ConnectionError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def test_the_client_comes_back_and_has_the_whole_text(pod: Pod) -> None:
    proxy = CuttingProxy(pod.url)
    lost = 0

    def note() -> None:
        nonlocal lost
        lost += 1

    async with await proxy.start(), OperatorClient(proxy.url, TOKEN) as client:
        async with client.conversation("cut", on_reconnect=note) as conversation:
            reply = await conversation.ask("word " * 60 + "[[rate=40]]")
            pieces = []
            async for piece in reply:
                pieces.append(piece)
                if len(pieces) in (5, 20):
                    proxy.cut()
            assert reply.status == "complete"
            assert "".join(pieces) == reply.text
            assert lost >= 2
            again = await conversation.ask("word " * 60 + "[[rate=40]]")
            await conversation.cancel(again)
            assert (await again.wait()).status == "cancelled"
        page = await client.history("cut")
        assert page.messages[1].content == reply.text

        async def found_by_word() -> Any:
            return (await client.sessions(q="word")).sessions

        found = await eventually(found_by_word)
        assert [session.session_id for session in found] == ["cut"]
        answer = await client.chat("hi", session_id="cut", key="k")
        assert (await client.chat("hi", session_id="cut", key="k")).reply_id == answer.reply_id
        await client.delete("cut")
        with pytest.raises(ClientError) as gone:
            await client.history("cut")
        assert gone.value.code == "session_not_found"


async def test_a_question_that_was_cut_off_is_asked_once(pod: Pod) -> None:
    proxy = CuttingProxy(pod.url)
    async with (
        await proxy.start(),
        OperatorClient(proxy.url, TOKEN) as client,
        client.conversation("once") as conversation,
    ):
        asking = asyncio.create_task(conversation.ask("only once [[delay=0.5]]"))
        await asyncio.sleep(0.01)  # it was sent
        proxy.cut()
        reply = await (await asking).wait()
        assert reply.status == "complete"
        page = await client.history("once")
        assert len(page.messages) == 2


async def test_a_wrong_token_is_refused_at_once(pod: Pod) -> None:
    async with OperatorClient(pod.url, "wrong") as client:
        with pytest.raises(ClientError) as refused:
            async with client.conversation("s"):
                pass
        assert refused.value.code == "forbidden"
        with pytest.raises(ClientError) as refused:
            await client.sessions()
        assert refused.value.code == "forbidden"


async def test_the_example_of_the_documents(pod: Pod, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    program = tmp_path / "example.py"
    program.write_text(code.replace("http://127.0.0.1:8011", pod.url))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program),
        env={**os.environ, "OPERATOR_TOKEN": TOKEN}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), WITHIN)
    assert out.decode().split("\n") == [
        "[stand-in] You said: Hello!", " complete", "2 messages", "",
    ]  # fmt: skip
