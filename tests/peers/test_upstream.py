"""Upstreams that take less than is asked: what is left out, asked again, or told apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operator_svc.peers.chat_types import ChatError
from tests.fakes.chats import ask, prompt, switch_at
from tests.peers.upstreams import OPENAI, answering, sent

REFUSALS = [
    b'400 {"error": {"message": "Unknown parameter: \'stream_options\'.", "param": "x"}}',
    b'422 {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs", "input": {}}]}',
    b"400 stream_options is not supported",
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_stream_options_are_left_out_once_they_are_refused(refusal: bytes) -> None:
    async with (
        answering(refusal, OPENAI) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        assert (await ask(switch, "hello")).text == "fine"
        assert (await ask(switch, "again")).text == "fine"
        bodies = [sent(request)[2] for request in server.requests]
    assert ["stream_options" in body for body in bodies] == [True, False, False]
    assert [body["messages"][0]["content"] for body in bodies] == ["hello", "hello", "again"]


@pytest.mark.parametrize(
    "refusal",
    [
        b'400 {"error": "context length exceeded"}',
        b'500 {"error": "stream_options"}',
        b'400 {"error": "cannot answer: what are stream_options?"}',
    ],
)
async def test_any_other_refusal_is_not_asked_again(refusal: bytes) -> None:
    async with (
        answering(refusal, OPENAI) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        with pytest.raises(ChatError):
            await ask(switch, "what are stream_options?")
        assert len(server.requests) == 1


async def test_a_server_that_refuses_max_tokens_gets_its_newer_name() -> None:
    refusal = b'400 {"error": {"message": "Use \'max_completion_tokens\' instead."}}'
    async with (
        answering(refusal, OPENAI) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        await ask(switch, prompt("hello", metadata={"max_tokens": 9}))
        bodies = [sent(request)[2] for request in server.requests]
    assert [b.get("max_tokens") for b in bodies] == [9, None]
    assert [b.get("max_completion_tokens") for b in bodies] == [None, 9]


async def test_a_server_that_refuses_all_is_asked_only_so_often() -> None:
    refusal = b'400 {"error": "stream_options, max_completion_tokens"}'
    async with (
        answering(refusal) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        with pytest.raises(ChatError):
            await ask(switch, prompt("hello", metadata={"max_tokens": 9}))
        assert len(server.requests) == 3


@pytest.mark.parametrize("dialect", ["vx11", "openai"])
async def test_think_tags_stay_text_where_the_setting_is_off(dialect: Any) -> None:
    text = "<think>hm</think>Hello"
    body = {"reply": text, "choices": [{"message": {"content": text}}]}
    async with (
        answering(json.dumps(body).encode()) as server,
        switch_at(server.url, switch_dialect=dialect, switch_think_tags="off") as switch,
    ):
        answer = await ask(switch, "hello")
    assert answer.text == text
    assert answer.reasoning == ""


async def test_developer_counts_as_system() -> None:
    history = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "then"},
        {"role": "assistant", "content": "yes"},
    ]
    async with (
        answering(OPENAI) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        await ask(switch, prompt("now", history=history))
        body = sent(server.requests[0])[2]
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(("dialect", "engine"), [("vx11", "hinted"), ("openai", "m")])
async def test_failed_chat_names_the_engine_that_was_asked_for(dialect: Any, engine: str) -> None:
    async with (
        answering(b"500 {}") as server,
        switch_at(server.url, switch_dialect=dialect, switch_model="m") as switch,
    ):
        with pytest.raises(ChatError) as caught:
            await ask(switch, prompt("hello", provider_hint="hinted"))
    assert caught.value.ending.provider == engine
    async with switch_at("http://127.0.0.1:1", switch_dialect=dialect) as switch:
        with pytest.raises(ChatError) as caught:
            await ask(switch, "hello")
    assert caught.value.ending.provider is None


async def test_failed_chat_names_the_engine_that_answered() -> None:
    body = b'{"status": "error", "provider": "hermes", "content": "Error: x"}'
    async with answering(body) as server, switch_at(server.url) as switch:
        with pytest.raises(ChatError) as caught:
            await ask(switch, prompt("hello", provider_hint="hinted"))
    assert caught.value.ending.provider == "hermes"
