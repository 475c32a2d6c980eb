"""Frames that clients send: answers, faults, and limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.frames import MAX_FRAME
from operator_svc.ws import commands, connection
from tests.ws.conftest import Start
from tests.ws.ws_service import Service


@pytest.mark.parametrize(
    "ts", ["1734170400000", "1734170400000.25", "0", "-1", "9007199254740993", "0.1", "1e-7"]
)
async def test_a_pong_repeats_ts_as_it_was_sent(service: Service, ts: str) -> None:
    socket = await service.ready()
    await socket.send(f'{{"type": "ping", "ts": {ts}}}')
    await socket.until(lambda: socket.of("pong"))
    pong = socket.of("pong")[0]
    assert pong == {"type": "pong", "ts": json.loads(ts)}
    assert type(pong["ts"]) is type(json.loads(ts))


async def test_a_ping_without_ts_is_answered_without_it(service: Service) -> None:
    socket = await service.ready()
    await socket.send({"type": "ping", "id": "p"})
    await socket.send({"type": "ping"})
    await socket.until(lambda: len(socket.of("pong")) == 2)
    assert socket.of("pong") == [{"type": "pong", "id": "p"}, {"type": "pong"}]


@pytest.mark.parametrize("frame_id", [1, 0, -5, 2**53, "a", "", "x" * 200])
async def test_results_repeat_the_id(service: Service, frame_id: int | str) -> None:
    service.switch.answer = ["yes"]
    socket = await service.ready()
    await socket.send({"type": "chat", "message": "hi", "id": frame_id})
    await socket.until(lambda: socket.of("result"))
    assert socket.of("result")[0]["id"] == frame_id
    assert set(socket.of("result")[0]["data"]) == {"session_id", "message_id", "reply_id"}


async def test_without_an_id_there_is_no_result(service: Service) -> None:
    service.switch.answer = ["yes"]
    socket = await service.ready()
    await socket.send({"type": "chat", "message": "hi"})
    await socket.ended()
    assert socket.of("result") == []
    await socket.send({"type": "cancel", "reply_id": 99})
    await socket.until(lambda: socket.of("error"))
    assert socket.of("error")[0]["error"] == "reply_not_found"


FAULTS: list[tuple[Any, str, str]] = [
    ({"type": "chat"}, "validation_error", "message"),
    ({"type": "chat", "message": ""}, "validation_error", "message"),
    ({"type": "chat", "message": 5}, "validation_error", "message"),
    ({"type": "chat", "message": "x" * 32_001}, "validation_error", "message"),
    ({"type": "chat", "message": "a\0b"}, "validation_error", "message"),
    ({"type": "chat", "message": "x", "metadata": []}, "validation_error", "metadata"),
    ({"type": "chat", "message": "x", "client_message_id": ""}, "validation_error", "client_mes"),
    ({"type": "chat", "metadata": {"regenerate": "x"}}, "validation_error", "regenerate"),
    ({"type": "chat", "metadata": {"regenerate": 77}}, "message_not_found", ""),
    ({"type": "cancel"}, "validation_error", "reply_id"),
    ({"type": "cancel", "reply_id": "1"}, "validation_error", "reply_id"),
    ({"type": "cancel", "reply_id": 4711}, "reply_not_found", ""),
    ({"type": "resume"}, "validation_error", "after"),
    ({"type": "resume", "after": -1}, "validation_error", "after"),
    ({"type": "ping", "ts": "now"}, "validation_error", "ts"),
    ({"type": "dance"}, "validation_error", "type"),
    ({"no": "type"}, "validation_error", "type"),
]


@pytest.mark.parametrize(("frame", "error", "named"), FAULTS)
async def test_a_faulty_frame_is_told_its_fault(
    service: Service, frame: dict[str, Any], error: str, named: str
) -> None:
    socket = await service.ready()
    result = await socket.ask(**frame)
    assert not result["ok"]
    assert result["error"]["error"] == error
    assert result["error"]["retryable"] is False
    assert named in json.dumps(result["error"])
    if error == "validation_error":
        assert result["error"]["errors"]
    await socket.send(frame)
    await socket.until(lambda: socket.of("error"))
    assert socket.of("error")[0]["error"] == error
    assert socket.code is None


UNREADABLE: list[Any] = [
    "", "{", "nothing", "[]", "1", "null", '"text"', b"\x00\x01", b'{"type": "ping"}',
    "[" * 10_000, '{"type": "ping", "a": ' + "[" * 5_000 + "]" * 5_000 + "}",
]  # fmt: skip


@pytest.mark.parametrize("frame", UNREADABLE)
async def test_an_unreadable_frame_is_answered_with_an_error(
    service: Service, frame: str | bytes
) -> None:
    socket = await service.ready()
    await socket.send(frame)
    await socket.until(lambda: socket.of("error"))
    assert set(socket.of("error")[0]) == {"type", "error", "detail"}
    await socket.send({"type": "ping"})
    await socket.until(lambda: socket.of("pong"))


async def test_half_a_surrogate_pair_is_named(service: Service) -> None:
    socket = await service.ready()
    await socket.send('{"type": "chat", "message": "\\ud83d", "id": 1}')
    await socket.until(lambda: socket.of("error"))
    assert socket.of("error")[0]["error"] == "validation_error"
    assert "message" in socket.of("error")[0]["detail"]


async def test_twenty_unreadable_frames_in_a_row_close_with_4503(service: Service) -> None:
    socket = await service.ready()
    for _ in range(connection.MAX_UNREADABLE - 1):
        await socket.send("no frame")
    await socket.send({"type": "ping"})  # one that can be read: counting begins anew
    for _ in range(connection.MAX_UNREADABLE - 1):
        await socket.send(b"no frame")
    await socket.send({"type": "chat"})  # faulty, but readable
    await socket.send({"type": "ping"})
    await socket.until(lambda: len(socket.of("pong")) == 2)
    assert socket.code is None
    for _ in range(connection.MAX_UNREADABLE):
        await socket.send("no frame")
    assert await socket.closed() == 4503
    assert len(socket.of("error")) == 3 * connection.MAX_UNREADABLE - 1


async def test_text_that_is_not_utf8_closes(service: Service) -> None:
    socket = await service.ready()
    await socket.ws.send_frame(b"\xff\xfe", 1)  # type: ignore[arg-type]
    assert await socket.closed() == 1007


async def test_a_frame_as_large_as_allowed_is_taken(service: Service) -> None:
    service.switch.answer = ["yes"]
    socket = await service.ready()
    frame = {"type": "chat", "message": "hi", "id": 1, "pad": ""}
    frame["pad"] = "x" * (MAX_FRAME - len(json.dumps(frame)))
    assert len(json.dumps(frame)) == MAX_FRAME
    await socket.send(frame)
    await socket.until(lambda: socket.of("result"))
    assert socket.of("result")[0]["ok"]


@pytest.mark.parametrize("size", [MAX_FRAME + 1, 10 * MAX_FRAME])
async def test_a_larger_frame_closes(service: Service, size: int) -> None:
    socket = await service.ready()
    with contextlib.suppress(ConnectionError):  # it may be let go before all is sent
        await socket.send("x" * size)
    assert await socket.closed() == 1009


@pytest.mark.parametrize("character", ["漢", "😀", "\u0001"])
async def test_the_longest_message_of_any_script_is_taken(service: Service, character: str) -> None:
    service.switch.answer = [character]
    socket = await service.ready()
    await socket.chat(character * 32_000)
    await socket.ended()
    history = await service.history()
    assert [m["content"] for m in history] == [character * 32_000, character]


async def test_too_many_frames_close_with_4005(start: Start) -> None:
    service = await start(frame_rate=10)
    socket = await service.ready()
    for _ in range(10):
        await socket.send({"type": "ping"})
    await socket.until(lambda: len(socket.of("pong")) == 10)
    await asyncio.sleep(0.25)  # the bucket has a frame or two again
    await socket.send({"type": "ping"})
    await socket.until(lambda: len(socket.of("pong")) == 11)
    for _ in range(12):
        await socket.send({"type": "ping"})
    assert await socket.closed() == 4005
    assert len(socket.of("pong")) < 23


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
    error = OperatorError(ErrorCode.SWITCH_ERROR, "Switch gave no usable answer")
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
