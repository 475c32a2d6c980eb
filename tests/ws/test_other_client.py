"""A websocket client that nobody here wrote (websockets), and bytes that no client should send."""

from __future__ import annotations

import asyncio
import json
import struct

import pytest
import websockets

from tests.ws.ws_service import PATIENCE, TOKEN, LazyClient, Service


def address(service: Service, path: str = "/ws/s") -> str:
    return service.url.replace("http", "ws", 1) + path


async def test_another_library_chats(service: Service) -> None:
    service.switch.answer = ["Good ", "morning 😀"]
    async with websockets.connect(
        address(service),
        subprotocols=[websockets.Subprotocol("operator.v1")],
        additional_headers={"X-VX11-Token": TOKEN},
    ) as ws:
        assert ws.subprotocol == "operator.v1"
        assert json.loads(await ws.recv())["type"] == "ready"
        assert ws.protocol.extensions == []  # it offered to compress
        await ws.send(json.dumps({"type": "chat", "message": "hi", "id": 1}))
        text = ""
        async for message in ws:
            frame = json.loads(message)
            if frame["type"] == "delta":
                text += frame["content"]
            elif frame.get("event") == "reply.completed":
                assert frame["data"]["content"] == text == "Good morning 😀"
                break
        latency = await asyncio.wait_for(await ws.ping(), PATIENCE)
        assert latency < PATIENCE
    assert (ws.close_code, ws.close_reason) == (1000, "")


async def test_a_message_in_fragments_is_read(service: Service) -> None:
    client = await LazyClient.connect(service)
    text = json.dumps({"type": "ping", "ts": 1734170400000})
    await client.ws.send([text[:5], text[5:9], text[9:]])
    assert (await client.read()) == {"type": "pong", "ts": 1734170400000}
    await client.ws.close()


async def test_a_close_code_of_the_client_is_answered(service: Service) -> None:
    client = await LazyClient.connect(service)
    await client.ws.close(3001, "enough")
    assert client.ws.close_code == 3001
    await service.until(lambda: len(service.operator.services.clients) == 0)


def masked(first: int, payload: bytes, *, length: int | None = None) -> bytes:
    """A client's frame with the first byte as given; the mask changes nothing."""
    size = len(payload) if length is None else length
    if size < 126:
        return struct.pack("!BB4x", first, 0x80 | size) + payload
    return struct.pack("!BBQ4x", first, 0x80 | 127, size) + payload


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (masked(0x83, b"x"), 1002),  # an opcode that is reserved
        (masked(0xC1, b"{}"), 1002),  # compressed, though that was not agreed
        (masked(0x80, b"x"), 1002),  # a continuation of nothing
        (masked(0x01, b"x") + masked(0x81, b"y"), 1002),  # a new one in the middle of another
        (masked(0x81, b"", length=2**62), 1009),
        (masked(0x89, b"x" * 126), 1002),  # a control frame that is too large
    ],
)
async def test_bytes_that_break_the_protocol_close_the_connection(
    service: Service, sent: bytes, code: int
) -> None:
    client = await LazyClient.connect(service)
    client.ws.transport.write(sent)
    assert await client.read_to_the_end() == code


async def test_fragments_that_grow_too_large_close_with_1009(service: Service) -> None:
    client = await LazyClient.connect(service)
    client.ws.transport.write(masked(0x01, b"x" * 1000))
    for _ in range(600):
        client.ws.transport.write(masked(0x00, b"x" * 1000))
    assert await client.read_to_the_end() == 1009


async def test_a_client_that_stops_inside_a_frame_is_unregistered(service: Service) -> None:
    client = await LazyClient.connect(service)
    client.ws.transport.write(masked(0x81, b'{"type"', length=100))
    await asyncio.sleep(0.05)  # what was sent arrives
    client.cut()
    await service.until(lambda: len(service.operator.services.clients) == 0)


@pytest.mark.parametrize("path", ["/ws", "/ws/"])
async def test_socket_without_an_id_gets_a_session_of_its_own(both: Service, path: str) -> None:
    sessions = set()
    for number in range(2):
        async with websockets.connect(
            address(both, path), additional_headers={"X-VX11-Token": TOKEN}
        ) as socket:
            ready = json.loads(await socket.recv())
            assert ready["type"] == "ready"
            sessions.add(ready["session_id"])
            await socket.send(json.dumps({"type": "chat", "id": 1, "message": f"hi {number}"}))
            await both.switch.next()
            both.switch.say("hello", None)
            while (frame := json.loads(await socket.recv()))["type"] != "result":
                pass
            assert frame["data"]["session_id"] == ready["session_id"]
            while frame.get("event") != "reply.completed":
                frame = json.loads(await socket.recv())
        history = await both.history(ready["session_id"])
        assert [message["content"] for message in history] == [f"hi {number}", "hello"]
    assert len(sessions) == 2
