"""Addresses and headers of upstreams: where calls go, what is refused, what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from operator_svc.errors import ConfigurationError, OperatorError
from operator_svc.peers.chat_types import ChatError
from operator_svc.peers.modules import make_modules
from operator_svc.peers.switch import make_switch
from operator_svc.settings import Settings, load, masked
from tests.fakes.chats import TOKEN, ask, prompt, switch_at
from tests.peers.upstreams import ANSWERS, OPENAI, answering, sent


@pytest.mark.parametrize(
    ("dialect", "path", "chat", "models"),
    [
        ("openai", "", "/v1/chat/completions", "/v1/models"),
        ("openai", "/", "/v1/chat/completions", "/v1/models"),
        ("openai", "/v1", "/v1/chat/completions", "/v1/models"),
        ("openai", "/v1/", "/v1/chat/completions", "/v1/models"),
        ("openai", "/v1beta/openai", "/v1beta/openai/chat/completions", "/v1beta/openai/models"),
        ("openai", "/v1beta/openai/", "/v1beta/openai/chat/completions", "/v1beta/openai/models"),
        ("openai", "/api/v3", "/api/v3/chat/completions", "/api/v3/models"),
        ("openai", "/v1/chat/completions", "/v1/chat/completions", "/v1/models"),
        ("openai", "/v1/chat/completions/", "/v1/chat/completions", "/v1/models"),
        ("openai", "/chat/completions", "/chat/completions", "/models"),
        (
            "openai",
            "/openai/deployments/gpt?api-version=2024-10-21",
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            "/openai/deployments/gpt/models?api-version=2024-10-21",
        ),
        (
            "openai",
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            "/openai/deployments/gpt/models?api-version=2024-10-21",
        ),
        ("openai", "?key=k-1", "/v1/chat/completions?key=k-1", "/v1/models?key=k-1"),
        ("openai", "/a%2Fb/v1", "/a%2Fb/v1/chat/completions", "/a%2Fb/v1/models"),
        ("vx11", "", "/switch/chat", "/switch/models/available"),
        ("vx11", "/", "/switch/chat", "/switch/models/available"),
        ("vx11", "/switch/chat", "/switch/chat", "/switch/models/available"),
        ("vx11", "/proxy", "/proxy/switch/chat", "/proxy/switch/models/available"),
        (
            "vx11",
            "/proxy?via=a",
            "/proxy/switch/chat?via=a",
            "/proxy/switch/models/available?via=a",
        ),
    ],
)
async def test_each_form_of_an_address_leads_to_the_call(
    dialect: Any, path: str, chat: str, models: str
) -> None:
    async with (
        answering(ANSWERS[dialect]) as server,
        switch_at(server.url + path, switch_dialect=dialect) as switch,
    ):
        assert (await ask(switch, "hello")).text == "fine"
        if dialect == "openai":
            assert (await switch.models_available()).models[0].name == "m"
        else:
            with pytest.raises(OperatorError):  # the answer is a chat's; its path is what counts
                await switch.models_available()
        assert [sent(request)[0] for request in server.requests] == [chat, models]


async def test_the_overview_asks_a_model_server_for_its_models() -> None:
    async with answering(OPENAI) as server:
        settings = Settings(
            token=TOKEN, switch_url=f"{server.url}/v1", switch_dialect="openai", switch_api_key="k"
        )
        module = make_modules(settings)["switch"]
        assert (await module.health()).health.status == "ok"
        await module.aclose()
        target, headers, _ = sent(server.requests[0])
    assert target == "/v1/models"
    assert headers["authorization"] == "Bearer k"
    assert "x-vx11-token" not in headers


UNUSABLE = [
    ("SWITCH_URL", "localhost:8002", "must begin with http:// or https://"),
    ("SWITCH_URL", "", "must begin with http:// or https://"),
    ("SWITCH_URL", "ftp://x", "must begin with http:// or https://"),
    ("SWITCH_URL", "//x", "must begin with http:// or https://"),
    ("SWITCH_URL", "http://", "must name a host"),
    ("SWITCH_URL", "http:///v1", "must name a host"),
    ("SWITCH_URL", "http://a<b", "must name a host"),
    ("SWITCH_URL", "http://x:99999", "is not a URL"),
    ("SWITCH_URL", "http://x:http", "is not a URL"),
    ("SWITCH_URL", "http://[::1", "is not a URL"),
    ("SWITCH_URL", "http://x:0", "must not have the port 0"),
    ("SWITCH_URL", "http://x/#v1", "must not have a fragment"),
    ("SWITCH_URL", "http://x/v 1", "must not contain spaces"),
    ("SWITCH_URL", "http://x\n", "must not contain spaces"),
    ("HERMES_URL", "hermes:8003", "must begin with http:// or https://"),
    ("BROWSER_URL", "127.0.0.1:8012", "must begin with http:// or https://"),
    ("SWITCH_API_KEY", "x\ny", "a one-line Latin-1 string"),
    ("SWITCH_API_KEY", "x\r", "a one-line Latin-1 string"),
    ("SWITCH_API_KEY", "\u043a", "a one-line Latin-1 string"),
    ("BROWSER_TOKEN", "x\n", "a one-line Latin-1 string"),
    ("SWITCH_HEADERS", "api-key: x", "must be a JSON object"),
    ("SWITCH_HEADERS", '["x"]', "must be a JSON object"),
    ("SWITCH_HEADERS", '{"a b": "x"}', "not a valid header name"),
    ("SWITCH_HEADERS", '{"": "x"}', "not a valid header name"),
    ("SWITCH_HEADERS", '{"a": 1}', "a one-line Latin-1 string"),
    ("SWITCH_HEADERS", '{"a": "x\\r\\ny"}', "a one-line Latin-1 string"),
    ("SWITCH_HEADERS", '{"a": "\\ud83d\\ude00"}', "a one-line Latin-1 string"),
    ("SWITCH_HEADERS", '{"Content-Length": "1"}', "Operator sets itself"),
    ("SWITCH_HEADERS", '{"accept": "x"}', "Operator sets itself"),
    ("SWITCH_BODY", "temperature=1", "must be a JSON object"),
    ("SWITCH_BODY", "7", "must be a JSON object"),
    ("SWITCH_BODY", "[" * 10_000, "must be a JSON object"),
    ("SWITCH_BODY", '{"messages": []}', "Operator sets itself"),
    ("SWITCH_BODY", '{"stream": false}', "Operator sets itself"),
]


@pytest.mark.parametrize(("name", "value", "problem"), UNUSABLE)
def test_what_cannot_work_is_refused_where_settings_are_read(
    name: str, value: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Settings, {"OPERATOR_TOKEN": TOKEN, name: value})
    (line,) = caught.value.problems
    assert line.startswith(name)
    assert problem in line


@pytest.mark.parametrize(
    ("name", "value", "problem"), [row for row in UNUSABLE if row[0].startswith("SWITCH")]
)
def test_what_cannot_work_is_refused_where_the_client_is_made(
    name: str, value: str, problem: str
) -> None:
    values: dict[str, Any] = {name.lower(): value}
    with pytest.raises(ConfigurationError, match=name) as caught:
        make_switch(Settings(token=TOKEN, **values))
    assert problem in str(caught.value)


def test_secrets_of_an_address_and_of_headers_are_not_shown() -> None:
    environ = {
        "OPERATOR_TOKEN": TOKEN,
        "SWITCH_URL": "https://user:hunter2@x/openai?api-version=1&api-key=hunter2&sig=hunter2",
        "SWITCH_HEADERS": '{"api-key": "hunter2"}',
    }
    settings, _ = load(Settings, environ)
    shown = masked(settings)
    assert "hunter2" not in repr(shown)
    assert shown["SWITCH_URL"] == "https://user:***@x/openai?api-version=1&api-key=***&sig=***"
    for url in ("user:hunter2@switch:8002", "ftp://user:hunter2@switch", "http://u:hunter2@[bad"):
        with pytest.raises(ConfigurationError) as caught:
            load(Settings, environ | {"SWITCH_URL": url})
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("dialect", ["vx11", "openai"])
async def test_more_headers_and_fields_are_sent_over_operators_own(dialect: Any) -> None:
    async with (
        answering(ANSWERS[dialect]) as server,
        switch_at(
            server.url,
            switch_dialect=dialect,
            switch_api_key="k",
            switch_model="m",
            switch_headers='{"authorization": "Key hunter2", "X-Title": "Operator"}',
            switch_body='{"temperature": 0.2, "metadata": {"tier": 1}, "model": "other"}',
        ) as switch,
    ):
        answer = await ask(switch, prompt("hello", metadata={"max_tokens": 7, "tier": 2}))
        _, headers, body = sent(server.requests[0])
    assert headers["authorization"] == "Key hunter2"
    assert headers["x-title"] == "Operator"
    assert body["temperature"] == 0.2
    assert body["model"] == "other"
    assert body["metadata"]["tier"] == 1
    if dialect == "vx11":
        assert body["metadata"]["max_tokens"] == 7, "metadata is merged, not replaced"
        assert headers["x-vx11-token"] == TOKEN
    else:
        assert answer.done.provider == "other"


async def test_a_header_that_the_upstream_repeats_is_not_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with (
        answering(b'401 {"error": "bad key hunter2"}') as server,
        switch_at(server.url, switch_headers='{"api-key": "hunter2"}') as switch,
    ):
        with pytest.raises(ChatError):
            await ask(switch, "hello")
    logged = capsys.readouterr().out
    assert "bad key ***" in logged
    assert "hunter2" not in logged
