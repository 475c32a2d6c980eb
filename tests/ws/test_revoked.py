"""Tokens that are taken away or changed: their sockets and streams end, and others go on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from operator_svc.models import Caller
from operator_svc.protocol.chat import Chat
from operator_svc.services.chat.running_replies import Accepted
from tests.fakes.eventually import eventually
from tests.ws.conftest import Start
from tests.ws.ws_service import TOKEN, Service


def write(path: Path, *lines: dict[str, Any]) -> str:
    """A file of tokens."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


ANA = {"name": "ana", "token": "token-of-ana", "user_id": "ana"}
BOB = {"name": "bob", "token": "token-of-bob", "user_id": "bob"}


async def stream(service: Service, token: str) -> Any:
    """An open event stream of a session of the token's own."""
    body = {"message": "hi", "session_id": token}
    headers = {"X-VX11-Token": token}
    async with service.session.post(
        f"{service.url}/operator/chat", json=body, headers={**headers, "Prefer": "respond-async"}
    ) as answer:
        assert answer.status == 202
    response = await service.session.get(
        f"{service.url}/operator/session/{token}/events",
        headers={**headers, "Accept": "text/event-stream"},
    )
    await response.content.readuntil(b"ready")
    return response


async def test_sockets_and_streams_of_tokens_that_are_gone_or_changed_end(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "tokens"
    service = await start(tokens_file=write(path, ANA, BOB, {"name": "c", "token": "token-of-c"}))
    ana = await service.ready("of-ana", token="token-of-ana")
    bob = await service.ready("of-bob", token="token-of-bob")
    free = await service.ready("of-c", token="token-of-c")
    default = await service.ready("of-default")
    streams = [await stream(service, token) for token in ("token-of-ana", "token-of-bob")]
    # Ana's is gone, that of c has another user, bob's stands in another line.
    write(path, {"name": "c", "token": "token-of-c", "user_id": "c"}, BOB)
    assert service.operator.services.tokens.reload()
    async with asyncio.timeout(15):  # and not at the next heartbeat
        assert await ana.closed() == 4501
        assert await free.closed() == 4501
        await streams[0].read()
    assert (await bob.chat())["reply_id"]
    assert (await default.chat())["reply_id"]
    await eventually(lambda: len(service.operator.services.clients) == 3)
    streams[1].close()


async def test_a_command_that_crosses_the_reload_is_not_done(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    service = await start(tokens_file=write(path, ANA))
    ana = await service.ready("of-ana", token="token-of-ana")
    write(path)
    service.operator.services.tokens.reload()
    for _ in range(3):
        await ana.send({"type": "chat", "id": 1, "message": "still here?"})
    assert await ana.closed() == 4501
    shown = await service.http("GET", "/operator/session/of-ana")
    assert shown["http_status"] == 404


async def test_chat_that_waits_for_the_one_before_it_is_not_done_after_the_reload(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokens"
    service = await start(tokens_file=write(path, ANA))
    service.switch.answer = ["hi"]
    chats, gate, asked = service.operator.services.chats, asyncio.Event(), []
    store = chats.start

    async def slow(caller: Caller, chat: Chat) -> Accepted:
        asked.append(chat.message)
        await gate.wait()
        return await store(caller, chat)

    monkeypatch.setattr(chats, "start", slow)
    ana = await service.ready("of-ana", token="token-of-ana")
    before = await used(service, "ana")
    for message in ("first", "second"):
        await ana.send({"type": "chat", "message": message})

    async def taken() -> bool:
        return asked == ["first"] and await used(service, "ana") == before + 2

    await eventually(taken)
    write(path)
    assert service.operator.services.tokens.reload()
    assert await ana.closed() == 4501
    default = await service.ready("of-ana")
    gate.set()
    await default.ended()
    assert (await default.chat("last"))["reply_id"]  # which begins after what had waited
    assert asked == ["first", "last"]


async def test_wrong_tokens_of_a_websocket_are_audited(service: Service) -> None:
    import base64

    wrong = "token." + base64.urlsafe_b64encode(b"wrong").decode().rstrip("=")
    with capture_logs() as logs:
        socket = await service.open("s", token=None)
        await socket.send({"type": "auth", "token": "wrong"})
        assert await socket.closed() == 4501
        socket = await service.open("s", token=None, protocols=("operator.v1", wrong))
        assert await socket.closed() == 4501
    lines = [line for line in logs if line["event"] == "audit"]
    assert [(line["outcome"], line["status"]) for line in lines] == [("refused", 403)] * 2
    assert "wrong" not in str(lines)


async def used(service: Service, name: str = "default") -> float:
    """Requests that a token has made."""
    async with service.session.get(f"{service.url}/metrics") as answer:
        text = await answer.text()
    line = f'operator_token_requests_total{{token="{name}"}} '
    return sum(float(x.removeprefix(line)) for x in text.splitlines() if x.startswith(line))


async def test_handshakes_and_commands_count_for_their_token(service: Service) -> None:
    before = await used(service)
    socket = await service.ready()
    assert await used(service) == before + 1
    await socket.chat()
    await socket.send({"type": "ping"})
    late = await service.open("t", token=None)
    await late.send({"type": "auth", "token": TOKEN})
    await late.until(lambda: late.of("ready"))
    assert await used(service) == before + 3


async def test_handshakes_and_commands_beyond_the_rate_are_refused(start: Start) -> None:
    service = await start(request_rate=3)
    socket = await service.ready()
    assert (await socket.chat())["reply_id"]
    assert (await socket.chat())["reply_id"]
    refused = await socket.ask(type="chat", message="one more")
    assert refused["error"]["error"] == "rate_limited"
    assert refused["error"]["retry_after"] > 0
    answer = await service.session.get(
        f"{service.url}/ws/t",
        headers={"X-VX11-Token": TOKEN, "Connection": "Upgrade", "Upgrade": "websocket",
                 "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="},
    )  # fmt: skip
    assert answer.status == 429


async def test_many_wrong_tokens_of_an_address_are_slowed_down(start: Start) -> None:
    service = await start()
    loop = asyncio.get_running_loop()

    async def attempt(token: str) -> tuple[int, float]:
        begun = loop.time()
        async with service.session.get(
            f"{service.url}/operator/sessions", headers={"X-VX11-Token": token}
        ) as answer:
            return answer.status, loop.time() - begun

    for _ in range(20):
        assert (await attempt("wrong"))[0] == 403
    slowed = asyncio.ensure_future(attempt("wrong"))
    assert (await attempt(TOKEN))[0] == 200
    assert not slowed.done(), "a right token does not wait with the wrong ones"
    status, took = await slowed
    assert (status, took >= 1) == (403, True)
