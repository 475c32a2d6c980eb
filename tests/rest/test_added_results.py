"""Results of a response's own calls that are added to its conversation as items."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operator_svc.devpeers import Script
from tests.rest.openai_calls import REPEATED, sent
from tests.rest.response_calls import PATH, create
from tests.rest.rest_service import Service, running
from tests.rest.test_conversation_items import user
from tests.rest.test_conversations import opened
from tests.rest.test_response_tools import TOOLS, calls_in, outputs, roles

ONLY, WITH_TEXT, TWO = "look [[only_tool_call]]", "look [[tool_call]]", "look [[two_tool_calls]]"


async def asked(service: Service, question: str) -> tuple[str, dict[str, Any]]:
    """The path of a conversation, and its response, which has calls."""
    path = await opened(service)
    return path, await create(service, question, conversation=path.rpartition("/")[2], **TOOLS)


async def add(service: Service, path: str, *items: dict[str, Any]) -> None:
    answer = await service.post(f"{path}/items", {"items": list(items)})
    assert answer.status == 200, await answer.text()


async def written(service: Service, path: str) -> None:
    """Wait until some of the newest response of a conversation is stored."""
    while True:
        answer = await service.get(f"{path}/items?limit=1")
        (newest,) = (await answer.json())["data"]
        if newest["type"] == "message" and newest["status"] == "in_progress" and newest["content"]:
            return
        await asyncio.sleep(0.05)  # the pace of the looks


async def test_added_results_are_sent_with_the_next_response_and_once(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path, first = await asked(service, WITH_TEXT)
        conversation = path.rpartition("/")[2]
        await add(service, path, *outputs(first, "it rains"))
        second = await create(service, "and now?", conversation=conversation, **TOOLS)
        messages = sent(service)["messages"]
        (called,) = [m for m in messages if m.get("tool_calls")]
        at = messages.index(called)
        assert [call["id"] for call in called["tool_calls"]] == calls_in(first)
        result = {"role": "tool", "tool_call_id": calls_in(first)[0], "content": "it rains"}
        assert messages[at + 1 :] == [result, user("and now?")]
        assert messages[0] == user(WITH_TEXT)
        await create(service, "more", conversation=conversation, **TOOLS)
        again = sent(service)["messages"]
        answer = second["output"][0]["content"][0]["text"]
        assert again[: len(messages)] == messages
        assert again[len(messages) :] == [
            {"role": "assistant", "content": answer},
            user("more"),
        ]


async def test_added_results_alone_lead_to_a_further_reply(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path, first = await asked(service, ONLY)
        await add(service, path, *outputs(first))
        await create(service, [], conversation=path.rpartition("/")[2], **TOOLS)
        assert roles(service) == ["user", "assistant", "tool"]


async def test_a_message_after_results_of_calls_without_a_text_goes_on(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path, first = await asked(service, ONLY)
        await add(service, path, *outputs(first))
        await create(service, "and now?", conversation=path.rpartition("/")[2], **TOOLS)
        assert [m for m in sent(service)["messages"] if m["role"] == "tool"]


async def test_added_results_are_sent_after_the_response_that_is_named(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        for question, more in ((ONLY, []), (WITH_TEXT, []), (ONLY, "and?"), (WITH_TEXT, "and?")):
            path, first = await asked(service, question)
            await add(service, path, *outputs(first, "it rains"))
            second = await create(service, more, previous_response_id=first["id"], **TOOLS)
            results = [m for m in sent(service)["messages"] if m["role"] == "tool"]
            assert [(m["tool_call_id"], m["content"]) for m in results] == [
                (calls_in(first)[0], "it rains")
            ]
            await create(service, "more", previous_response_id=second["id"], **TOOLS)
            assert [m for m in sent(service)["messages"] if m["role"] == "tool"] == results


async def test_added_results_count_with_those_of_the_input(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path, first = await asked(service, TWO)
        conversation, (one, two) = path.rpartition("/")[2], outputs(first)
        await add(service, path, one)
        body = {"input": "and now?", "conversation": conversation, **TOOLS}
        answer = await service.post(PATH, body)
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "input")
        await create(service, [two], conversation=conversation, **TOOLS)
        results = [m for m in sent(service)["messages"] if m["role"] == "tool"]
        assert [m["tool_call_id"] for m in results] == calls_in(first)


async def test_a_repeated_call_has_the_same_results(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        for first_try, again in (({}, REPEATED), ({"Idempotency-Key": "k"},) * 2):
            path, first = await asked(service, WITH_TEXT)
            await add(service, path, *outputs(first))
            body = {"input": "and now?", "conversation": path.rpartition("/")[2], **TOOLS}
            calls = service.switch.total.calls
            answers = [await service.post(PATH, body, headers=h) for h in (first_try, again)]
            assert [answer.status for answer in answers] == [200, 200]
            assert len({(await answer.json())["id"] for answer in answers}) == 1
            assert service.switch.total.calls == calls + 1


async def test_results_of_a_response_that_failed_are_sent_with_the_next_one(
    database_url: str,
) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path, first = await asked(service, WITH_TEXT)
        await add(service, path, *outputs(first))
        body = {"conversation": path.rpartition("/")[2], **TOOLS}
        failed = await service.post(PATH, {"input": "x [[error]]", **body})
        assert failed.status >= 500
        await create(service, "and now?", **body)
        assert roles(service) == ["user", "assistant", "assistant", "tool", "user"]


@pytest.mark.parametrize("question", [ONLY, WITH_TEXT])
async def test_results_of_a_response_that_was_cut_are_sent_with_its_repeat(
    database_url: str, question: str
) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        mores: tuple[Any, Any] = ([], "talk [[rate=20]] [[tokens=1000]]")
        for more in mores:
            path, first = await asked(service, question)
            await add(service, path, *outputs(first, "it rains"))
            service.switch.script = Script(rate=20, tokens=1000)
            body = {"input": more, "conversation": path.rpartition("/")[2], **TOOLS}
            answering = asyncio.ensure_future(service.post(PATH, body))
            await written(service, path)
            service.operator.reply_writer.interrupt_all()
            assert (await answering).status == 503
            service.switch.script = Script()
            await create(service, more and "and now?", conversation=body["conversation"], **TOOLS)
            results = [m["content"] for m in sent(service)["messages"] if m["role"] == "tool"]
            assert results == ["it rains"]
