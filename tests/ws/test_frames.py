"""Frames that clients send: answers, faults, and limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import Any

import pytest
from aiohttp import WSMsgType

from operator_svc.protocol.frames import MAX_FRAME, CloseCode
from operator_svc.ws import connection
from operator_svc.ws.frame_decoder import read
from tests.fakes.threads import Threads
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
    told = set(socket.of("result")[0]["data"])
    assert told == {"session_id", "message_id", "reply_id", "created_at"}


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
    assert socket.reason == "20 unreadable frames in a row"
    assert len(socket.of("error")) == 3 * connection.MAX_UNREADABLE - 1


async def test_text_that_is_not_utf8_closes(service: Service) -> None:
    socket = await service.ready()
    await socket.ws.send_frame(b"\xff\xfe", 1)  # type: ignore[arg-type]
    assert await socket.closed() == 1007


async def test_a_close_is_answered_with_its_code_or_1002_where_nobody_may_send_it(
    service: Service,
) -> None:
    right = (1000, 1001, 1014, 3000, 4999)
    for code in (*right, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535):
        socket = await service.ready()
        await socket.ws.send_frame(struct.pack("!H", code), WSMsgType.CLOSE)
        assert await socket.closed() == (code if code in right else 1002), code
    socket = await service.ready()
    await socket.ws.send_frame(b"", WSMsgType.CLOSE)
    assert await socket.closed() == 1000


def test_the_reason_of_a_close_fits_into_its_frame() -> None:
    assert max(len(code.reason.encode()) for code in CloseCode) <= 123


async def test_a_frame_as_large_as_allowed_is_taken(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads()
    monkeypatch.setattr(connection, "read", threads.noting(read))
    service.switch.answer = ["yes"]
    socket = await service.ready()
    frame = {"type": "chat", "message": "hi", "id": 1, "pad": ""}
    frame["pad"] = "x" * (MAX_FRAME - len(json.dumps(frame)))
    assert len(json.dumps(frame)) == MAX_FRAME
    await socket.send(frame)
    await socket.until(lambda: socket.of("result"))
    assert socket.of("result")[0]["ok"]
    assert threads.others, "it was read on the event loop"


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
