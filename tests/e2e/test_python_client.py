"""The client in Python against a real process."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from operator_svc.client import ClientError, OperatorClient
from tests.cluster.processes import TOKEN, Pod
from tests.e2e.chat_calls import CuttingProxy
from tests.fakes.eventually import WITHIN, eventually

pytestmark = pytest.mark.usefixtures("state_folder")


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
