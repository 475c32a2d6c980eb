"""``operator-svc chat`` against a real process, as scripts use it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from operator_svc.commands.chat import command
from tests.cluster.processes import TOKEN, Pod
from tests.e2e.chat_calls import CHAT, call, run

pytestmark = pytest.mark.usefixtures("state_folder")


async def test_a_pipe_is_answered_on_standard_output(pod: Pod) -> None:
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


async def test_a_service_that_is_gone_is_named_in_one_line(pod: Pod) -> None:
    await pod.end(signal.SIGKILL)
    code, out, err = await run(pod, "anybody?")
    assert (code, out) == (1, "")
    assert f"cannot be reached at {pod.url}: Connection refused; start it, or name " in err
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
    assert err == f"operator-svc: the server at {url} is not Operator (no_operator)\n"


MISTAKES: list[tuple[list[str], bytes, str, str]] = [
    (["hi"], b"", "", "needs a token: set OPERATOR_TOKEN (or "),
    (["hi"], b"", "wrong", "does not know the token of OPERATOR_TOKEN"),
    (["hi", "--token-file", "/nowhere"], b"", "", "/nowhere cannot be read as a token: "),
    (["hi", "--url", "http://h:99999"], b"", TOKEN, "--url must be host:port or http"),
    (["hi", "--url", "ftp://h"], b"", TOKEN, "--url must be host:port or http"),
    (["hi", "--session", "bad id"], b"", TOKEN, "'bad id' is not a valid session id: "),
    (["hi", "-c"], b"", TOKEN, "no session at "),
    ([], b"a\xff", TOKEN, "standard input is not UTF-8: byte 1 is 0xff"),
    ([os.fsdecode(b"a\xff")], b"", TOKEN, "the message is not UTF-8"),
]
"""Arguments, standard input, token, and what is said of them."""


async def test_what_the_caller_must_mend_ends_with_2_and_one_line(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # beside a token of `make run`, none would be missing
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
