"""The path of OPERATOR_URL: a proxy may keep it before the paths of requests, or take it away."""

from __future__ import annotations

from typing import Any

import pytest

from operator_client import OperatorClient
from operator_svc.errors import ConfigurationError
from operator_svc.settings import Settings, load
from tests.rest.rest_service import TOKEN, Service, running


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/operator/me", 200),
        ("/base/operator/me", 200),
        ("/base/operator/sessions?limit=1&user_id=a%2Fb", 200),
        ("/base/console", 200),
        ("/base/docs/docs.js", 200),
        ("/base/health/live", 200),
        ("/base/operator/session/base", 404),
        ("/bas/operator/me", 404),
        ("/based/operator/me", 404),
        ("/base/base/operator/me", 404),
        ("/base/nothing", 404),
    ],
)
async def test_paths_are_served_with_and_without_it(
    path: str, status: int, served: Service
) -> None:
    answer = await served.get(path)
    assert answer.status == status
    if status == 404:
        wanted = "session_not_found" if "session" in path else "not_found"
        assert (await answer.json())["error"] == wanted


@pytest.fixture
async def served(sqlite_url: str) -> Any:
    async with running(sqlite_url, public_url="https://operator.test/base/") as service:
        yield service


@pytest.mark.parametrize("prefix", ["/operator", "/ws", "/v1", "/a%20b"])
async def test_paths_of_our_own_may_be_it_too(prefix: str, sqlite_url: str) -> None:
    async with running(sqlite_url, public_url=f"https://operator.test{prefix}") as service:
        for path in ("/operator/me", "/docs", "/v1/models", "/openapi.json"):
            for whole in (path, prefix + path):
                assert (await service.get(whole)).status == 200, whole
        for path in ("/ws/a", f"{prefix}/ws/a"):
            headers = {"X-VX11-Token": TOKEN}
            async with service.session.ws_connect(service.url + path, headers=headers) as socket:
                assert (await socket.receive_json())["session_id"] == "a"


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("", ""), ("https://a.test", ""), ("https://a.test/", ""), ("127.0.0.1:8011", ""),
        ("https://a.test/b", "/b"), ("https://a.test/b/c/", "/b/c"), ("a.test:80/b", ""),
    ],
)  # fmt: skip
def test_it_is_the_path_of_the_address(url: str, prefix: str) -> None:
    settings, _ = load(Settings, {"OPERATOR_TOKEN": "t", "OPERATOR_URL": url})
    assert settings.path_prefix == prefix


@pytest.mark.parametrize(
    "url", ["https://[a/b", "ftp://a.test", "https://a.test/b?c=d", "https://"]
)
def test_an_address_that_can_be_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="OPERATOR_URL"):
        load(Settings, {"OPERATOR_TOKEN": "t", "OPERATOR_URL": url})


async def test_errors_of_openai_are_told_its_way_under_it(served: Service) -> None:
    answer = await served.get("/base/v1/models/none")
    assert (await answer.json())["error"]["code"] == "model_not_found"


async def test_addresses_of_answers_lead_back_under_it(served: Service) -> None:
    headers = {"Prefer": "respond-async"}
    pending = await served.post("/operator/chat", {"message": "hi"}, headers=headers)
    assert pending.status == 202
    assert pending.headers["Location"].startswith("/base/operator/reply/")
    assert (await served.get(pending.headers["Location"])).status == 200
    for path in ("/base", "/base/", "/"):
        root = await served.get(path, headers={"Accept": "text/html"})
        assert (root.status, root.headers["Location"]) == (302, "/base/console")


async def test_the_client_for_python_works_under_it(served: Service) -> None:
    async with OperatorClient(f"{served.url}/base", TOKEN) as client:
        assert (await client.get_me()).role == "operator"
        async with client.conversation("s") as conversation:
            reply = await (await conversation.ask("hello")).wait()
            assert reply.text == "[stand-in] You said: hello"
