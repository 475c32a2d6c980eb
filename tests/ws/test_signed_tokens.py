"""Signed tokens (JWTs) on websockets and event streams, which end with them."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operator_svc.services import jwt_verifier
from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer, token
from tests.ws.conftest import Start
from tests.ws.ws_service import PATIENCE, Service


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture
async def service(start: Start, issuer: Issuer) -> Service:
    settings: dict[str, Any] = {"jwks_url": issuer.url, "jwt_leeway": 0.0}
    return await start(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, **settings)


def subprotocols(signed: str) -> tuple[str, str]:
    """The subprotocols that bring a token."""
    return "operator.v1", "token." + base64.urlsafe_b64encode(signed.encode()).decode().rstrip("=")


async def test_sockets_and_streams_end_when_their_token_has_expired(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = token()
    lasting = await service.ready("others", token=token(sub="bob", exp=time.time() + 9999))
    ana = await service.ready("hers", token=brief)
    await ana.chat()
    late = await service.open("hers", token=None)
    await late.send({"type": "auth", "token": brief})
    await late.until(lambda: late.of("ready"))
    offered = await service.open("hers", token=None, protocols=subprotocols(brief))
    await offered.until(lambda: offered.of("ready"))
    events = await service.session.get(
        f"{service.url}/operator/session/hers/events",
        headers={"X-VX11-Token": brief, "Accept": "text/event-stream"},
    )
    await events.content.readuntil(b"ready")
    later = time.time() + 3600
    monkeypatch.setattr(jwt_verifier, "now", lambda: later)
    async with asyncio.timeout(PATIENCE):
        assert [await socket.closed() for socket in (ana, late, offered)] == [4501] * 3
        await events.read()
    assert (await lasting.chat())["reply_id"]
    body = {"message": "hi", "session_id": "hers"}
    headers = {"X-VX11-Token": brief}
    refused = await service.http("POST", "/operator/chat", json=body, headers=headers)
    assert refused["http_status"] == 403


@pytest.mark.parametrize("first", ["header", "subprotocol", "frame"])
async def test_a_newer_token_of_the_same_caller_keeps_the_socket_open(
    service: Service, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    now = time.time()
    brief, lasting = token(exp=now + 60), token(exp=now + 7200)
    if first == "header":
        socket = await service.ready("s", token=brief)
    elif first == "subprotocol":
        socket = await service.open("s", token=None, protocols=subprotocols(brief))
    else:
        socket = await service.open("s", token=None)
        await socket.send({"type": "auth", "token": brief})
    await socket.until(lambda: socket.of("ready"))
    left_alone = await service.ready("s", token=brief)
    known = await service.ready("s", token=brief)
    assert (await socket.ask(type="auth", token=lasting))["ok"]
    assert (await known.ask(type="auth", token=lasting))["ok"]  # it has been checked by now
    assert (await socket.ask(type="auth", token=token(exp=now + 60)))["ok"]  # shortens nothing
    monkeypatch.setattr(jwt_verifier, "now", lambda: now + 3600)
    assert await left_alone.closed() == 4501
    for renewed in (socket, known):
        assert renewed.code is None
        assert (await renewed.chat())["reply_id"]
    monkeypatch.setattr(jwt_verifier, "now", lambda: now + 9999)
    assert [await socket.closed(), await known.closed()] == [4501] * 2


@pytest.mark.parametrize("claims", [{"sub": "bob"}, {"roles": ["operator"]}])
async def test_a_token_of_another_caller_or_role_is_no_newer_one(
    service: Service, monkeypatch: pytest.MonkeyPatch, claims: Any
) -> None:
    now = time.time()
    socket = await service.ready("s", token=token())
    assert (await socket.ask(type="auth", token=token(exp=now + 7200, **claims)))["ok"]
    monkeypatch.setattr(jwt_verifier, "now", lambda: now + 3600)
    assert await socket.closed() == 4501


async def test_a_wrong_or_expired_token_closes_with_4501(service: Service) -> None:
    for wrong in (token(aud="another"), token(exp=time.time() - 1)):
        late = await service.open("s", token=None)
        await late.send({"type": "auth", "token": wrong})
        offered = await service.open("s", token=None, protocols=subprotocols(wrong))
        assert [await socket.closed() for socket in (late, offered)] == [4501, 4501]


async def test_without_keys_a_socket_is_asked_to_come_back(start: Start, issuer: Issuer) -> None:
    issuer.answer = (500, "", {})
    service = await start(jwks_url=issuer.url, jwt_issuer=ISSUER, jwt_audience=AUDIENCE)
    late = await service.open("s", token=None)
    await late.send({"type": "auth", "token": token()})
    assert await late.closed() == 4006
    headers = {"X-VX11-Token": token(), "Connection": "Upgrade", "Upgrade": "websocket"}
    answer = await service.session.get(f"{service.url}/ws/s", headers=headers)
    assert answer.status == 503
    assert "Retry-After" in answer.headers


async def test_a_socket_takes_another_token_of_the_issuer_and_no_wrong_one(
    service: Service,
) -> None:
    socket = await service.ready("s", token=token())
    assert (await socket.ask(type="auth", token=token(sub="bob")))["ok"]
    await socket.send({"type": "auth", "token": token(aud="another"), "id": 9})
    assert await socket.closed() == 4501
