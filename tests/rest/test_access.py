"""Access: tokens, the users they are bound to, origins, and the headers for pages."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError
from structlog.testing import capture_logs

from tests.rest.conftest import Start
from tests.rest.rest_service import TOKEN, Service

ALLOWED = "http://127.0.0.1:8020"
FOREIGN = "http://evil.example"

PRIVATE = [
    ("POST", "/operator/chat"),
    ("GET", "/operator/sessions"),
    ("GET", "/operator/session/s"),
    ("DELETE", "/operator/session/s"),
    ("GET", "/operator/session/s/export"),
    ("GET", "/operator/session/s/events"),
    ("GET", "/operator/reply/1"),
    ("POST", "/operator/reply/1/cancel"),
]
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
            frame = await ws.receive(timeout=0.5)
            return 200 if json.loads(frame.data)["type"] == "ready" else 500
    except TimeoutError:
        return 401
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
        "OPERATOR_TOKENS_FILE, line 1: Expected `str`, got `int` - at `$.token`"
    ]
    assert (await status("new-token"), await status(TOKEN)) == (200, 200)


@pytest.mark.parametrize(("method", "path"), [*PRIVATE, ("GET", "/health"), ("GET", "/nothing")])
async def test_a_foreign_origin_is_refused(service: Service, method: str, path: str) -> None:
    for origin in (FOREIGN, "null", ALLOWED + ".evil.example", ALLOWED.upper()):
        response = await service.call(method, path, headers={"Origin": origin})
        assert response.status == 403
        assert (await response.json())["error"] == "forbidden"
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("GET", "/operator/sessions", TOKEN, 200),
        ("GET", "/operator/sessions", None, 401),
        ("GET", "/operator/sessions", "wrong", 403),
        ("GET", "/operator/sessions?limit=0", TOKEN, 400),
        ("GET", "/operator/session/none", TOKEN, 404),
        ("GET", "/nothing", TOKEN, 404),
        ("PUT", "/operator/chat", TOKEN, 405),
        ("POST", "/operator/chat", TOKEN, 400),
        ("GET", "/health", None, 200),
    ],
)
async def test_an_allowed_origin_can_read_every_answer(
    service: Service, method: str, path: str, token: str | None, status: int
) -> None:
    response = await service.call(method, path, token=token, headers={"Origin": ALLOWED})
    assert response.status == status
    assert response.headers["Access-Control-Allow-Origin"] == ALLOWED
    assert "Origin" in response.headers["Vary"]
    exposed = response.headers["Access-Control-Expose-Headers"]
    for name in ("X-Request-ID", "Retry-After", "Location", "ETag"):
        assert name in exposed
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize(
    ("path", "origin", "status", "methods"),
    [
        ("/operator/chat", ALLOWED, 204, {"POST", "OPTIONS"}),
        ("/operator/session/any", ALLOWED, 204, {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("/operator/chat", FOREIGN, 403, None),
    ],
)
async def test_a_preflight_from_an_allowed_origin_is_granted(
    service: Service, path: str, origin: str, status: int, methods: set[str] | None
) -> None:
    response = await service.call(
        "OPTIONS",
        path,
        token=None,
        headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
    )
    assert response.status == status
    if methods is not None:
        assert set(response.headers["Access-Control-Allow-Methods"].split(", ")) == methods
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert "Content-Type" not in response.headers


async def test_refused_calls_leave_an_audit_line(service: Service) -> None:
    with capture_logs() as logs:
        await service.post("/operator/chat", {"message": "secret words"}, token="stolen-token")
        await asyncio.sleep(0)
    (line,) = [entry for entry in logs if entry["event"] == "audit"]
    assert line["outcome"] == "refused"
    assert line["action"] == "POST /operator/chat"
    assert "stolen-token" not in str(logs)
    assert "secret words" not in str(logs)


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8011", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:8011", 200),
     ("ui.localhost", 200), ("operator.test", 200), ("named.test:99", 200), ("evil.example", 403),
     ("evil.example:8011", 403), ("10.0.0.5", 403), ("127.0.0.1.evil.example", 403),
     ("localhost.evil.example", 403), ("[::1", 403)],
)  # fmt: skip
async def test_a_host_with_auth_off_must_be_loopback_or_named(
    start: Start, host: str, status: int
) -> None:
    service = await start(
        auth="off", token="", public_url="https://operator.test/x", allowed_hosts=" named.test, b.c"
    )
    for path in ("/operator/sessions", "/ws/s"):
        response = await service.get(path, token=None, headers={"Host": host})
        expected = 400 if path == "/ws/s" and status == 200 else status
        assert response.status == expected, path
    for path in ("/health", "/openapi.json"):
        assert (await service.get(path, token=None, headers={"Host": host})).status == 200


async def test_a_host_with_tokens_may_be_any(service: Service) -> None:
    response = await service.get("/operator/sessions", headers={"Host": "evil.example"})
    assert response.status == 200


async def test_a_preflight_of_an_unknown_path_is_granted_and_its_404_can_be_read(
    service: Service,
) -> None:
    asked = {
        "Origin": ALLOWED,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x-vx11-token",
    }
    preflight = await service.call("OPTIONS", "/no/such/path", token=None, headers=asked)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == ALLOWED
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
    for method, path in (("GET", "/no/such/path"), ("PUT", "/operator/chat"), ("OPTIONS", "/no")):
        response = await service.call(method, path, headers={"Origin": ALLOWED})
        assert response.status in (404, 405)
        assert response.headers["Access-Control-Allow-Origin"] == ALLOWED
