"""Chats by frame: side by side, limited, failing, and repeated by key."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.ws import commands, connection
from tests.ws.conftest import Start
from tests.ws.ws_service import Service


async def test_chats_run_side_by_side_and_in_order(service: Service) -> None:
    socket = await service.ready()
    for number in range(3):
        await socket.send({"type": "chat", "message": f"m{number}", "id": number})
    speakers = [await service.switch.next() for _ in range(3)]
    await socket.until(lambda: len(socket.of("result")) == 3)
    assert [f["id"] for f in socket.of("result")] == [0, 1, 2]
    replies = {f["id"]: f["data"]["reply_id"] for f in socket.of("result")}
    assert sorted(replies.values()) == [replies[0], replies[1], replies[2]]
    by_message = {s.prompt.message: s for s in speakers}
    for piece in ("a", "b"):
        for number in (2, 0, 1):
            by_message[f"m{number}"].say(f"{piece}{number}")
    await socket.until(lambda: len(socket.of("delta")) == 6)
    for speaker in speakers:
        speaker.say(None)
    await socket.ended(3)
    assert socket.view.texts == {replies[n]: f"a{n}b{n}" for n in range(3)}


async def test_the_socket_answers_while_a_chat_is_being_stored(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()
    start = service.operator.services.chats.start

    async def slow(*args: Any) -> Any:
        await held.wait()
        return await start(*args)

    monkeypatch.setattr(service.operator.services.chats, "start", slow)
    service.switch.answer = ["yes"]
    socket = await service.ready()
    await socket.send({"type": "chat", "message": "hi", "id": 1})
    await socket.send({"type": "ping"})
    await socket.until(lambda: socket.of("pong"))
    assert socket.of("result") == []
    for number in range(2, commands.MAX_COMMANDS + 3):
        await socket.send({"type": "chat", "message": "hi", "id": number})
    await socket.until(lambda: len(socket.of("result")) == 2)
    for refused in socket.of("result"):
        assert refused["error"]["error"] == "rate_limited"
        assert refused["error"]["retryable"] is True
    held.set()
    await socket.ended(commands.MAX_COMMANDS)


async def test_chats_in_new_sessions_count_for_their_token(start: Start) -> None:
    service = await start(chat_rate=3)
    answers = []
    for n in range(5):
        socket = await service.ready(f"new-{n}")
        answers.append(await socket.ask(type="chat", message="hi"))
    assert [answer["ok"] for answer in answers] == [True, True, True, False, False]
    assert answers[4]["error"]["error"] == "rate_limited"


async def test_too_many_chats_of_a_session_are_rate_limited(start: Start) -> None:
    service = await start(chat_rate=2)
    service.switch.answer = ["yes"]
    socket = await service.ready()
    answers = [await socket.ask(type="chat", message="hi") for _ in range(3)]
    assert [a["ok"] for a in answers] == [True, True, False]
    assert answers[2]["error"]["error"] == "rate_limited"
    assert answers[2]["error"]["retry_after"] > 0


async def test_an_internal_error_is_answered_without_its_cause(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("the password is swordfish")

    socket = await service.ready()
    monkeypatch.setattr(service.operator.services.chats, "start", broken)
    result = await socket.ask(type="chat", message="hi")
    assert result["error"]["error"] == "internal_error"
    assert "swordfish" not in json.dumps(socket.frames)
    await socket.send({"type": "chat", "message": "hi"})
    await socket.until(lambda: socket.of("error"))
    assert "swordfish" not in json.dumps(socket.frames)


async def test_a_fault_of_the_endpoint_closes_with_4006(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await service.ready()

    def broken(text: str) -> Any:
        raise RuntimeError(text)

    monkeypatch.setattr(connection, "read", broken)
    await socket.send({"type": "ping"})
    assert await socket.closed() == 4006


async def test_a_database_that_is_away_at_connect_closes_with_4006(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "the database cannot be reached")

    monkeypatch.setattr(service.operator.core.hub, "open_feed", away)
    socket = await service.open()
    assert await socket.closed() == 4006
    assert [f["error"] for f in socket.of("error")] == ["database_unavailable"]


async def test_a_failed_reply_is_shown_and_a_failed_resume_closes_with_4006(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await service.ready()
    ids = await socket.chat()
    error = OperatorError(ErrorCode.SWITCH_ERROR, "Switch returned no usable response")
    (await service.switch.next()).say("half of ", error)
    await socket.ended()
    event = socket.events("reply.failed")[0]["data"]
    assert (event["reply_id"], event["content"]) == (ids["reply_id"], "half of ")
    assert event["error"] == "switch_error"

    async def away(*_: Any) -> Any:
        raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "the database cannot be reached")

    monkeypatch.setattr(service.operator.core.stores.events, "after", away)
    result = await socket.ask(type="resume", after=0)
    assert result["error"]["error"] == "database_unavailable"
    assert await socket.closed() == 4006  # it would be shown nothing more


async def test_the_same_key_is_the_same_chat(service: Service) -> None:
    socket = await service.ready()
    first = await socket.chat("hi", client_message_id="k")
    again = await socket.chat("hi", client_message_id="k")
    assert first == again
    other = await socket.ask(type="chat", message="other", client_message_id="k")
    assert other["error"]["error"] == "conflict"
    (await service.switch.next()).say("yes", None)
    await socket.ended()
    assert service.switch.calls.empty()


async def test_regenerate_begins_another_reply_to_the_message(service: Service) -> None:
    socket = await service.ready()
    ids = await socket.chat("a question")
    (await service.switch.next()).say("one", None)
    await socket.ended()
    again = await socket.chat(metadata={"regenerate": ids["message_id"]}, message=None)
    speaker = await service.switch.next()
    assert speaker.prompt.message == "a question"
    speaker.say("two", None)
    await socket.ended(2)
    assert again["message_id"] == ids["message_id"]
    history = await service.history()
    assert [m["content"] for m in history] == ["a question", "one", "two"]
