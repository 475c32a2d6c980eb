"""Pages of other origins, and hosts: who may call from a browser."""

from __future__ import annotations

import socket

import pytest

from operator_svc.errors import ConfigurationError
from operator_svc.settings import Settings, load
from tests.rest.conftest import Start
from tests.rest.raw_client import raw
from tests.rest.rest_service import PRIVATE, TOKEN, Service

ALLOWED = "http://127.0.0.1:8020"


FOREIGN = "http://evil.example"


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
    for name in ("X-Request-ID", "Retry-After", "Location", "ETag", "x-should-retry"):
        assert name in exposed
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("auth", ["token", "off"])
@pytest.mark.parametrize("origin", ["null", FOREIGN, "x"])
async def test_a_request_that_names_no_host_is_refused_and_no_name_is_looked_up(
    start: Start, monkeypatch: pytest.MonkeyPatch, auth: str, origin: str
) -> None:
    service = await start(auth=auth)
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("a name was looked up"))
    lines = f"Origin: {origin}\r\nX-VX11-Token: {TOKEN}\r\n\r\n"
    for head in ("", "Host:\r\n"):
        async with raw(service) as client:
            request = f"GET /operator/sessions HTTP/1.0\r\n{head}{lines}"
            assert await client.status(request.encode()) == 403
    if auth == "off":
        async with raw(service) as client:
            assert await client.status(b"GET /operator/sessions HTTP/1.0\r\n\r\n") == 403


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


async def test_allowed_origins_are_compared_as_browsers_write_them(start: Start) -> None:
    service = await start(allowed_origins="https://App.Example.org/, app://Notes, null")
    for origin in ("https://app.example.org", "app://notes", "null"):
        response = await service.get("/operator/sessions", headers={"Origin": origin})
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    "entry",
    ["*", "app.example.org", "localhost:3000", "https://*.example.org", "https://a.example/page"],
)
def test_what_no_page_has_as_its_origin_is_refused_where_settings_are_read(entry: str) -> None:
    origins = f"https://app.example.org, {entry}"
    with pytest.raises(ConfigurationError) as caught:
        load(Settings, {"OPERATOR_TOKEN": TOKEN, "OPERATOR_ALLOWED_ORIGINS": origins})
    (line,) = caught.value.problems
    assert line.startswith("OPERATOR_ALLOWED_ORIGINS must be a list of origins")
    assert repr(entry) in line
