"""The client in Python against a real process."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from operator_client import ClientError, OperatorClient
from operator_client.models import ChatBody
from tests.cluster.processes import TOKEN, Pod
from tests.e2e.chat_calls import CuttingProxy
from tests.fakes.eventually import WITHIN, eventually

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("state_folder")


async def test_the_client_comes_back_and_has_the_whole_text(pod: Pod) -> None:
    proxy = CuttingProxy(pod.url)
    lost = 0

    def note() -> None:
        nonlocal lost
        lost += 1

    async with await proxy.start(), OperatorClient(proxy.url, TOKEN) as client:
        async with client.conversation("cut", on_reconnect=note) as conversation:
            reply = await conversation.ask("word " * 90 + "[[rate=30]]")
            pieces, cuts = [], 0
            async for piece in reply:
                pieces.append(piece)
                if len(pieces) >= 5 and cuts == lost < 2:
                    cuts += 1
                    proxy.cut()
            assert reply.status == "complete"
            assert "".join(pieces) == reply.text
            assert cuts == 2
            again = await conversation.ask("word " * 60 + "[[rate=40]]")
            await conversation.cancel(again)
            assert (await again.wait()).status == "cancelled"
        page = await client.get_session("cut")
        assert page.messages[1].content == reply.text

        async def found_by_word() -> Any:
            return (await client.list_sessions(q="word")).sessions

        found = await eventually(found_by_word)
        assert [session.session_id for session in found] == ["cut"]
        body = ChatBody(message="hi", session_id="cut", client_message_id="k")
        answer = await client.chat(body)
        assert (await client.chat(body)).reply_id == answer.reply_id
        await client.delete_session("cut")
        with pytest.raises(ClientError) as gone:
            await client.get_session("cut")
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
        page = await client.get_session("once")
        assert len(page.messages) == 2


async def test_a_wrong_token_is_refused_at_once(pod: Pod) -> None:
    async with OperatorClient(pod.url, "wrong") as client:
        with pytest.raises(ClientError) as refused:
            async with client.conversation("s"):
                pass
        assert refused.value.code == "forbidden"
        with pytest.raises(ClientError) as refused:
            await client.list_sessions()
        assert refused.value.code == "forbidden"


EXAMPLES = re.findall(
    r"^```python\n(.*?)^```$",
    "".join((ROOT / page).read_text() for page in ("docs/client.md", "clients/python/README.md")),
    re.M | re.S,
)
SHOWN = (
    "[stand-in] You said: Hello!\n complete\n2 messages\n",
    "2 user Who is there?\n4 complete [stand-in] You said: Who is there?\n",
    "[stand-in] You said: Good morning\n",
    "[stand-in] You said: Hello, Operator\n complete\n",
)
"""The beginnings of what the examples print."""


@pytest.mark.parametrize(("code", "shown"), list(zip(EXAMPLES, SHOWN, strict=True)))
async def test_an_example_of_the_documents_runs(
    pod: Pod, tmp_path: Path, code: str, shown: str
) -> None:
    program = tmp_path / "example.py"
    program.write_text(code)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program),
        env={**os.environ, "OPERATOR_TOKEN": TOKEN, "OPERATOR_URL": pod.url},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), WITHIN)
    assert out.decode().startswith(shown)
    assert process.returncode == 0
