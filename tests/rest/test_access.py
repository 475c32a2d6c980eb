"""Access: tokens, the users they are bound to, origins, and the headers for pages."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError
from structlog.testing import capture_logs

from tests.fakes.eventually import WITHIN
from tests.rest.conftest import Start
from tests.rest.rest_service import PRIVATE, TOKEN, Service

OPEN = ["/health", "/health/live", "/health/ready", "/metrics"]


def tokens_file(folder: Path, *lines: dict[str, Any] | str) -> str:
    """A file of tokens."""
    path = folder / "tokens.jsonl"
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return str(path)


@pytest.mark.parametrize(
    ("token", "status", "error"),
    [
        (None, 401, "auth_required"),
        ("", 403, "forbidden"),
        ("wrong", 403, "forbidden"),
        (TOKEN + "x", 403, "forbidden"),
        (TOKEN[:-1], 403, "forbidden"),
        ("\u00fc" * 8, 403, "forbidden"),
    ],
)
async def test_private_calls_without_a_token_or_with_a_wrong_one_are_refused(
    service: Service, token: str | None, status: int, error: str
) -> None:
    for method, path in PRIVATE:
        response = await service.call(method, path, token=token)
        assert response.status == status, path
        assert response.content_type == "application/problem+json"
        body = await response.json()
        assert body["error"] == error
        assert body["status"] == body["status_code"] == status
    assert response.headers.get("WWW-Authenticate") == (
        "X-VX11-Token, Bearer" if status == 401 else None
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"bearer  {TOKEN} "}, 200),
        ({"Authorization": "Bearer wrong"}, 403),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": "Bearer of-a-proxy", "X-VX11-Token": TOKEN}, 200),
        ({"Authorization": f"Bearer {TOKEN}", "X-VX11-Token": "wrong"}, 403),
    ],
)
async def test_a_bearer_token_counts_where_no_header_of_ours_is(
    service: Service, headers: dict[str, str], status: int
) -> None:
    response = await service.get("/operator/me", token=None, headers=headers)
    assert response.status == status
    assert await handshake(service, headers) == status


async def handshake(service: Service, headers: dict[str, str]) -> int:
    """The status of a websocket's handshake; 401 where it is still to authenticate."""
    try:
        async with service.session.ws_connect(f"{service.url}/ws/s-b", headers=headers) as ws:
            await ws.send_str('{"type": "ping"}')  # no token: closed where one is waited for
            frame = await ws.receive(timeout=WITHIN)
            if frame.type is WSMsgType.CLOSE:
                return 401
            return 200 if json.loads(frame.data)["type"] == "ready" else 500
    except WSServerHandshakeError as error:
        return error.status


async def test_probes_without_a_token_are_answered(service: Service) -> None:
    for path in OPEN:
        response = await service.get(path, token=None)
        assert response.status == 200, path


async def test_any_call_with_auth_off_is_answered(start: Start) -> None:
    service = await start(auth="off", token="")
    service.switch.token = ""
    for token in (None, "anything"):
        response = await service.post("/operator/chat", {"message": "hi"}, token=token)
        assert response.status == 200


async def test_a_bound_token_sees_its_user_only(start: Start, tmp_path: Path) -> None:
    service = await start(
        tokens_file=tokens_file(
            tmp_path,
            {"name": "ana", "token": "token-of-ana", "user_id": "ana"},
            {"name": "bob", "token": "token-of-bob", "user_id": "bob"},
            {"name": "free", "token": "token-of-all"},
        )
    )

    async def chat(token: str, **fields: Any) -> Any:
        return await service.post("/operator/chat", {"message": "hi", **fields}, token=token)

    own = await (await chat("token-of-ana", session_id="of-ana")).json()
    assert (await chat("token-of-ana", user_id="ana", session_id="of-ana")).status == 200
    refused = await chat("token-of-ana", user_id="bob")
    assert (refused.status, (await refused.json())["error"]) == (403, "forbidden")
    history = await (await service.get("/operator/session/of-ana")).json()
    assert history["user_id"] == "ana"

    stolen = await chat("token-of-bob", session_id="of-ana")
    assert (stolen.status, (await stolen.json())["error"]) == (404, "session_not_found")
    for method, path, error in [
        ("GET", "/operator/session/of-ana", "session_not_found"),
        ("GET", "/operator/session/of-ana/export", "session_not_found"),
        ("GET", "/operator/session/of-ana/events", "session_not_found"),
        ("DELETE", "/operator/session/of-ana", "session_not_found"),
        ("GET", f"/operator/reply/{own['reply_id']}", "reply_not_found"),
        ("POST", f"/operator/reply/{own['reply_id']}/cancel", "reply_not_found"),
    ]:
        response = await service.call(method, path, token="token-of-bob")
        assert (response.status, (await response.json())["error"]) == (404, error), path

    async def listed(token: str, query: str = "") -> list[str]:
        response = await service.get(f"/operator/sessions{query}", token=token)
        assert response.status == 200
        return [s["session_id"] for s in (await response.json())["sessions"]]

    assert await listed("token-of-bob") == []
    assert await listed("token-of-ana") == ["of-ana"]
    assert await listed("token-of-all", "?user_id=ana") == ["of-ana"]
    assert await listed(TOKEN) == ["of-ana"]
    assert await listed(TOKEN, "?user_id=ana") == ["of-ana"]
    other = await service.get("/operator/sessions?user_id=ana", token="token-of-bob")
    assert other.status == 403
    everybody = await service.get("/operator/sessions?q=hi", token="token-of-all")
    assert (everybody.status, (await everybody.json())["error"]) == (403, "forbidden")


async def test_a_key_opens_no_session_of_another_user(start: Start, tmp_path: Path) -> None:
    service = await start(
        tokens_file=tokens_file(
            tmp_path,
            {"name": "ana", "token": "token-of-ana", "user_id": "ana"},
            {"name": "gateway", "token": "token-of-all"},
        )
    )
    await service.post(
        "/operator/chat", {"message": "hi", "user_id": "bob", "session_id": "of-bob"}
    )
    # A gateway that acts for ana writes into bob's session; the key stands under ana's name.
    body = {"message": "what is the secret", "client_message_id": "k1"}
    into = {**body, "user_id": "ana", "session_id": "of-bob"}
    assert (await service.post("/operator/chat", into, token="token-of-all")).status == 200
    for fields in ({}, {"session_id": "of-bob"}, {"message": "another"}):
        answer = await service.post("/operator/chat", {**body, **fields}, token="token-of-ana")
        assert (answer.status, (await answer.json())["error"]) == (404, "session_not_found")


async def test_a_reload_takes_new_tokens_and_drops_old_ones(start: Start, tmp_path: Path) -> None:
    path = Path(tokens_file(tmp_path, {"name": "old", "token": "old-token"}))
    service = await start(tokens_file=str(path))

    async def status(token: str) -> int:
        return (await service.get("/operator/sessions?user_id=local", token=token)).status

    assert (await status("old-token"), await status("new-token")) == (200, 403)
    tokens_file(tmp_path, {"name": "new", "token": "new-token"})
    assert service.operator.services.tokens.reload()
    assert (await status("old-token"), await status("new-token")) == (403, 200)
    path.write_text('{"name": "broken", "token": 1}')
    with capture_logs() as logs:
        assert not service.operator.services.tokens.reload()
    assert logs[0]["problems"] == [
        f"OPERATOR_TOKENS_FILE: {path}, line 1: token must be text of 1 to 4,096 characters"
    ]
    assert (await status("new-token"), await status(TOKEN)) == (200, 200)


async def test_refused_calls_leave_an_audit_line(service: Service) -> None:
    with capture_logs() as logs:
        await service.post("/operator/chat", {"message": "secret words"}, token="stolen-token")
        await asyncio.sleep(0)
    (line,) = [entry for entry in logs if entry["event"] == "audit"]
    assert line["outcome"] == "refused"
    assert line["action"] == "POST /operator/chat"
    assert "stolen-token" not in str(logs)
    assert "secret words" not in str(logs)
