"""Access to a websocket: the three ways to bring a token, and the answer to each fault."""

from __future__ import annotations

import asyncio
import base64
import logging
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from tests.ws.conftest import Start
from tests.ws.ws_service import TOKEN, Service

ORIGIN = "http://localhost:8020"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def subprotocol(token: str) -> str:
    return "token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


async def refused(service: Service, path: str = "/ws/s", **headers: str) -> dict[str, Any]:
    """The problem that a handshake is answered with."""
    sent = UPGRADE | {name.replace("_", "-"): value for name, value in headers.items()}
    async with service.session.get(service.url + path, headers=sent) as response:
        assert response.content_type == "application/problem+json"
        body: dict[str, Any] = await response.json()
        assert body["status"] == response.status
        return body


async def test_a_token_in_the_header_lets_in(service: Service) -> None:
    socket = await service.ready()
    assert socket.ws.protocol == "operator.v1"
    assert socket.frames[0]["heartbeat_s"] == 25.0
    assert socket.frames[0]["version"]


async def test_a_client_without_subprotocols_is_served(service: Service) -> None:
    socket = await service.ready(protocols=())
    assert socket.ws.protocol is None


async def test_a_token_in_a_subprotocol_is_not_repeated(service: Service) -> None:
    offered = ("operator.v1", subprotocol(TOKEN))
    socket = await service.ready(token=None, protocols=offered)
    assert socket.ws.protocol == "operator.v1"
    swapped = await service.ready(token=None, protocols=offered[::-1])
    assert swapped.ws.protocol == "operator.v1"


async def test_a_token_in_the_first_frame_lets_in(service: Service) -> None:
    socket = await service.open(token=None)
    await socket.send({"type": "auth", "token": TOKEN, "id": 7})
    await socket.until(lambda: socket.of("result"))
    assert [f["type"] for f in socket.frames] == ["ready", "result"]
    assert socket.frames[1] == {"type": "result", "id": 7, "ok": True}


async def test_frames_right_behind_the_auth_frame_are_read(service: Service) -> None:
    socket = await service.open(token=None)
    await socket.send({"type": "auth", "token": TOKEN})
    await socket.send({"type": "ping", "ts": 1})
    await socket.until(lambda: socket.of("pong"))
    assert [f["type"] for f in socket.frames] == ["ready", "pong"]


async def test_with_auth_off_no_token_is_needed(start: Start) -> None:
    service = await start(auth="off", token="")
    socket = await service.ready(token=None)
    result = await socket.ask(type="auth", token="whatever")
    assert result["ok"]


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({"X_VX11_Token": "wrong"}, 403, "forbidden"),
        ({"X_VX11_Token": TOKEN, "Origin": "http://evil.example"}, 403, "forbidden"),
        ({"X_VX11_Token": TOKEN, "Origin": "null"}, 403, "forbidden"),
        ({"X_VX11_Token": TOKEN, "Upgrade": "h2c"}, 400, "invalid_parameter"),
        ({"X_VX11_Token": TOKEN, "Sec_WebSocket_Version": "99"}, 400, "invalid_parameter"),
        ({"X_VX11_Token": TOKEN, "Sec_WebSocket_Key": "short"}, 400, "invalid_parameter"),
        ({"Sec_WebSocket_Protocol": "other.v9"}, 400, "invalid_parameter"),
    ],
)
async def test_a_bad_handshake_is_refused_before_the_upgrade(
    service: Service, headers: dict[str, str], status: int, error: str
) -> None:
    body = await refused(service, **headers)
    assert (body["status"], body["error"]) == (status, error)


@pytest.mark.parametrize("session_id", ["a%2Fb", "x" * 65, "a%20b", "ä"])
async def test_an_id_of_the_wrong_form_names_no_session(service: Service, session_id: str) -> None:
    body = await refused(service, f"/ws/{session_id}", X_VX11_Token=TOKEN)
    assert (body["status"], body["error"]) == (404, "session_not_found")


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "", str(2**63)])
async def test_an_invalid_after_is_refused_before_the_upgrade(service: Service, after: str) -> None:
    body = await refused(service, f"/ws/s?after={after}", X_VX11_Token=TOKEN)
    assert (body["status"], body["error"]) == (400, "invalid_parameter")
    assert "after" in body["detail"]


async def test_an_allowed_origin_is_let_in(service: Service) -> None:
    await service.ready(headers={"Origin": ORIGIN})


@pytest.mark.parametrize("wrong", ["wrong", "", "ünïcode"])
async def test_a_wrong_token_in_a_subprotocol_closes_with_4501(
    service: Service, wrong: str
) -> None:
    socket = await service.open(token=None, protocols=("operator.v1", subprotocol(wrong)))
    assert await socket.closed() == 4501
    assert socket.reason == "the token is wrong, or the session another user's"
    assert socket.frames == []


async def test_a_subprotocol_that_is_not_base64url_closes_with_4501(service: Service) -> None:
    socket = await service.open(token=None, protocols=("operator.v1", "token.!!!"))
    assert await socket.closed() == 4501


async def test_a_wrong_token_in_the_first_frame_closes_with_4501(service: Service) -> None:
    socket = await service.open(token=None)
    await socket.send({"type": "auth", "token": "wrong"})
    assert await socket.closed() == 4501
    assert socket.frames == []


@pytest.mark.parametrize(
    "first",
    [{"type": "ping"}, {"type": "chat", "message": "hi"}, {"type": "auth"}, "no JSON", b"auth"],
)
async def test_another_first_frame_closes_with_4500(service: Service, first: Any) -> None:
    socket = await service.open(token=None)
    await socket.send(first)
    assert await socket.closed() == 4500
    assert socket.frames == []


async def test_no_first_frame_in_time_closes_with_4502(start: Start) -> None:
    service = await start(auth_timeout=0.2)
    socket = await service.open(token=None)
    await socket.ws.ping()  # a sign of life is no token
    assert await socket.closed() == 4502


async def test_a_wrong_token_later_closes_with_4501(service: Service) -> None:
    socket = await service.ready()
    assert (await socket.ask(type="auth", token=TOKEN))["ok"]
    await socket.send({"type": "auth", "token": "wrong"})
    assert await socket.closed() == 4501


async def test_a_token_in_the_address_is_ignored(service: Service) -> None:
    socket = await service.open(query=f"?token={TOKEN}", token=None)
    await socket.send({"type": "ping"})
    assert await socket.closed() == 4500


async def test_no_token_is_ever_logged(
    service: Service, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    hidden = "hidden-token"
    with pytest.raises(WSServerHandshakeError) as failure:
        await service.open(token=None, protocols=(subprotocol(hidden),))
    assert failure.value.status == 400
    await (await service.open(token=None, protocols=("operator.v1", subprotocol(hidden)))).closed()
    socket = await service.open(token=None)
    await socket.send({"type": "auth", "token": hidden})
    await socket.closed()
    with pytest.raises(WSServerHandshakeError):
        await service.open(token=hidden)
    printed = capsys.readouterr()
    logged = caplog.text + printed.out + printed.err
    assert hidden not in logged
    assert subprotocol(hidden) not in logged


@pytest.fixture
def users(tmp_path: Path) -> str:
    """Tokens of two users, ``token-of-ann`` and ``token-of-bob``."""
    path = tmp_path / "tokens"
    path.write_text(
        "\n".join(
            f'{{"name": "{name}", "token": "token-of-{name}", "user_id": "{name}"}}'
            for name in ("ann", "bob")
        )
    )
    return str(path)


async def test_a_session_of_another_user_is_refused(start: Start, users: str) -> None:
    service = await start(tokens_file=users)
    service.switch.answer = ["yes"]
    mine = await service.ready(token="token-of-ann")
    await mine.chat()
    await mine.ended()
    with pytest.raises(WSServerHandshakeError) as failure:
        await service.open(token="token-of-bob")
    assert failure.value.status == 404
    later = await service.open(token=None)
    await later.send({"type": "auth", "token": "token-of-bob"})
    assert await later.closed() == 4501
    assert later.frames == []
    assert (await service.ready(token="token-of-ann")).frames[0]["seq"] == 4
    assert (await service.ready()).frames[0]["seq"] == 4  # an unbound token sees all


async def test_a_session_made_by_another_user_meanwhile_closes_the_socket(
    start: Start, users: str
) -> None:
    service = await start(tokens_file=users)
    service.switch.answer = ["secret"]
    waiting = await service.ready(token="token-of-bob")
    maker = await service.ready(token="token-of-ann")
    await maker.chat("a secret")
    await maker.ended()
    assert await waiting.closed() == 4501
    assert [f["type"] for f in waiting.frames] == ["ready"]


async def test_a_bound_token_chats_in_its_own_session(start: Start, users: str) -> None:
    service = await start(tokens_file=users)
    service.switch.answer = ["yes"]
    one = await service.ready(token="token-of-ann")
    two = await service.ready(token="token-of-ann")
    await asyncio.gather(one.chat("one"), two.chat("two"))
    for socket in (one, two):
        await socket.ended(2)
    assert one.events() == two.events()
