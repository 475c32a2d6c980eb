"""``operator-svc chat`` and the client under it, against a real process, as people use them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from operator_svc import devpeers
from operator_svc.client import ClientError, OperatorClient
from operator_svc.commands.chat import command
from tests.cluster.processes import TOKEN, Pod, environment
from tests.fakes.eventually import WITHIN, eventually

CHAT = (sys.executable, "-m", "operator_svc", "chat")


@pytest.fixture
async def pod(sqlite_url: str) -> AsyncIterator[Pod]:
    async with await devpeers.start(TOKEN) as peers:
        one = Pod(environment(sqlite_url, peers))
        await one.start()
        try:
            yield one
        finally:
            await one.end()


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def call(
    url: str, *arguments: str, stdin: bytes | None = None, token: str = TOKEN
) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *CHAT, *arguments, env={**os.environ, "OPERATOR_TOKEN": token, "OPERATOR_URL": url},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(stdin or b""), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def run(
    pod: Pod, *arguments: str, stdin: str = "", token: str = TOKEN
) -> tuple[int, str, str]:
    return await call(pod.url, *arguments, stdin=stdin.encode(), token=token)


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


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
async def test_another_service_is_named_as_such(status: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nHi!".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        code, out, err = await call(url, "hi")
    assert (code, out) == (1, "")
    assert err == f"operator-svc: what answers at {url} is not Operator (no_operator)\n"


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


async def test_a_talk(pod: Pod) -> None:
    terminal = Terminal(pod.url)
    await terminal.until("session talk")
    await terminal.until(PROMPT)
    terminal.type("what is **bold**?\r")
    await terminal.until("You said: what is")
    await terminal.until(PROMPT)
    terminal.type("slow " * 40 + "[[rate=5]]\r")
    await terminal.until("You said: slow")
    terminal.type("\x03")
    await terminal.until("(cancelled)")
    await terminal.until(PROMPT)
    terminal.type("/history 3\r")
    await terminal.until("assistant (cancelled):")
    terminal.type("/session bad id\r")
    await terminal.until("'bad id' cannot be a session's id")
    terminal.type("/session other\r")
    await terminal.until("session other")
    terminal.type("/session talk\r/help\r/nonsense\r")
    await terminal.until("/nonsense is no command")
    await terminal.until(PROMPT)
    terminal.type("\x03")
    await terminal.until("/quit to leave")
    await terminal.until(PROMPT)
    terminal.type("still here\r")
    await terminal.until("You said: still here")
    await terminal.until(PROMPT)
    terminal.type("/regenerate\r")
    await terminal.until("You said: still here")
    await terminal.until(PROMPT)
    terminal.type("/sessions\r")
    await terminal.until("talk")
    await terminal.until(PROMPT)
    terminal.type("\x04")
    assert await terminal.end() == 0
    async with OperatorClient(pod.url, TOKEN) as client:
        page = await client.history("talk")
        said = [(m.content.removeprefix("[stand-in] You said: "), m.status) for m in page.messages]
        assert said[-3:] == [("still here", "complete")] * 3
        assert said[3][1] == "cancelled"


async def test_lines_that_are_pasted_or_typed_after_multi_are_one_message(pod: Pod) -> None:
    terminal = Terminal(pod.url)
    await terminal.until("session talk")
    await terminal.until(PROMPT)
    terminal.type("\x1b[200~one\ntwo\nthree\x1b[201~")
    await terminal.until("three")
    terminal.type("\r")
    await terminal.until("You said: one")
    await terminal.until(PROMPT)
    terminal.type("/multi\r")
    await terminal.until("Esc and then Enter")
    await terminal.until(PROMPT)
    terminal.type("four\rfive")
    await terminal.until("five")
    terminal.type("\x1b\r")
    await terminal.until("You said: four")
    await terminal.until(PROMPT)
    terminal.type("/quit\r")
    assert await terminal.end() == 0
    async with OperatorClient(pod.url, TOKEN) as client:
        page = await client.history("talk")
    assert [m.content for m in page.messages[::2]] == ["one\ntwo\nthree", "four\nfive"]


async def test_a_lost_connection_is_said_in_a_line_and_ctrl_c_leaves_it_cleanly(pod: Pod) -> None:
    proxy = CuttingProxy(pod.url)
    server = await proxy.start()
    terminal = Terminal(proxy.url)
    await terminal.until("session talk")
    await terminal.until(PROMPT)
    terminal.type("wait [[stall_first]]\r")

    async def asked() -> bool:
        async with OperatorClient(pod.url, TOKEN) as client:
            return [one.message_count for one in (await client.sessions()).sessions] == [2]

    await eventually(asked)
    server.close()
    proxy.cut()
    await terminal.until("the connection is lost; reconnecting, attempt 2")
    terminal.type("\x03")
    await terminal.until("(not waited for;")
    await terminal.until(PROMPT)
    async with await proxy.start(int(proxy.url.rpartition(":")[2])):
        await terminal.until("back")
        terminal.type("/session\r")
        await terminal.until("session talk")
        await terminal.until(PROMPT)
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
        await client.chat(message, session_id="talk")
    await terminal.until(PROMPT)
    terminal.type("/history\r")
    await terminal.until("user:")
    await terminal.until("assistant:")
    await terminal.until("http://h/")
    shown = terminal.all
    terminal.type("\x04")
    assert await terminal.end() == 0
    assert "owned" in shown
    assert "\x1b]" not in shown
    assert not re.search("[\x07\x80-\x9f]", shown)


MISTAKES: list[tuple[list[str], bytes, str, str]] = [
    (["hi"], b"", "", "wants a token: set OPERATOR_TOKEN (or "),
    (["hi"], b"", "wrong", "does not know the token of OPERATOR_TOKEN"),
    (["hi", "--token-file", "/nowhere"], b"", "", "/nowhere cannot be read as a token: "),
    (["hi", "--url", "http://h:99999"], b"", TOKEN, "--url: http://host:port is wanted, "),
    (["hi", "--url", "ftp://h"], b"", TOKEN, "--url: http://host:port is wanted, "),
    (["hi", "--session", "bad id"], b"", TOKEN, "'bad id' cannot be a session's id: "),
    (["hi", "-c"], b"", TOKEN, "no session was talked in at "),
    ([], b"a\xff", TOKEN, "standard input is not UTF-8: byte 1 is 0xff"),
    ([os.fsdecode(b"a\xff")], b"", TOKEN, "the message is not UTF-8"),
]
"""Arguments, standard input, token, and what is said of them."""


async def test_what_the_caller_must_mend_ends_with_2_and_one_line(pod: Pod) -> None:
    for arguments, stdin, token, said in MISTAKES:
        environment = {"OPERATOR_URL": pod.url, "OPERATOR_TOKEN": token}
        done = CliRunner().invoke(command, arguments, input=stdin, env=environment)
        assert (done.exit_code, done.stdout) == (2, ""), done
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


async def test_a_full_disk_behind_the_output_is_one_line(pod: Pod) -> None:
    with open("/dev/full", "w") as full:
        process = await asyncio.create_subprocess_exec(
            *CHAT, "hi", "--url", pod.url, env={**os.environ, "OPERATOR_TOKEN": TOKEN},
            stdout=full, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    _, err = await asyncio.wait_for(process.communicate(), 30)
    said = b"operator-svc: standard output: No space left on device\n"
    assert (process.returncode, err) == (1, said)


async def test_json_is_a_line_for_scripts_and_the_last_session_goes_on(pod: Pod) -> None:
    host = pod.url.removeprefix("http://")
    code, out, _ = await run(pod, "one \x1b[31m", "--json", "--url", host)
    first = json.loads(out)
    assert (code, first["status"], first["error"]) == (0, "complete", None)
    assert first["text"] == "[stand-in] You said: one \x1b[31m"
    assert "\x1b" not in out
    code, out, _ = await run(pod, "fail [[error]]", "--json", "-c", "--url", host)
    failed = json.loads(out)
    assert (code, failed["error"]) == (1, "switch_error")
    assert failed["session_id"] == first["session_id"]
    code, out, err = await run(pod, "x" * 40_000, "--json")
    assert (code, json.loads(out)["error"], err) == (1, "validation_error", "")


class CuttingProxy:
    """A TCP proxy that can be cut."""

    def __init__(self, target: str) -> None:
        self._host, self._port = target.removeprefix("http://").split(":")
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def start(self, port: int = 0) -> asyncio.Server:
        server = await asyncio.start_server(self._proxy, "127.0.0.1", port)
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
