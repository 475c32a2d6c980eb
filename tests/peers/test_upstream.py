"""The upstream's address, headers and body: what each setting does to the calls that are made."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from operator_svc.errors import ConfigurationError, OperatorError
from operator_svc.peers.chat_types import ChatError
from operator_svc.peers.modules import make_modules
from operator_svc.peers.switch import make_switch
from operator_svc.settings import Settings, load, masked
from tests.fakes.chats import TOKEN, ask, prompt, switch_at
from tests.fakes.raw import Connection, RawServer, raw_server

VX11 = b'{"status": "ok", "reply": "fine", "provider": "p"}'
OPENAI = b'{"choices": [{"message": {"content": "fine"}}], "data": [{"id": "m"}]}'
ANSWERS = {"vx11": VX11, "openai": OPENAI}


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[RawServer]:
    """A server that gives these answers, the last one for ever; ``400 …`` is a refusal."""
    left = list(answers)

    async def behaviour(client: Connection) -> None:
        while True:
            await client.request()
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer[:3].isdigit():
                head = b"HTTP/1.1 %s Bad\r\nContent-Type: application/json\r\nContent-Length: %d"
                await client.send(head % (answer[:3], len(answer[4:])) + b"\r\n\r\n" + answer[4:])
            else:
                await client.json(answer)

    async with raw_server(behaviour) as server:
        yield server


def sent(request: bytes) -> tuple[str, dict[str, str], dict[str, Any]]:
    """The target, the headers (names in lower case) and the body of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    assert len(headers) == len(lines), "a header was sent twice"
    return first.split()[1], headers, json.loads(body) if body else {}


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
    ("SWITCH_URL", "http://x:99999", "is no URL"),
    ("SWITCH_URL", "http://x:http", "is no URL"),
    ("SWITCH_URL", "http://[::1", "is no URL"),
    ("SWITCH_URL", "http://x:0", "must not have the port 0"),
    ("SWITCH_URL", "http://x/#v1", "must not have a fragment"),
    ("SWITCH_URL", "http://x/v 1", "must not have spaces"),
    ("SWITCH_URL", "http://x\n", "must not have spaces"),
    ("HERMES_URL", "hermes:8003", "must begin with http:// or https://"),
    ("BROWSER_URL", "127.0.0.1:8012", "must begin with http:// or https://"),
    ("SWITCH_HEADERS", "api-key: x", "must be a JSON object"),
    ("SWITCH_HEADERS", '["x"]', "must be a JSON object"),
    ("SWITCH_HEADERS", '{"a b": "x"}', "no name of a header"),
    ("SWITCH_HEADERS", '{"": "x"}', "no name of a header"),
    ("SWITCH_HEADERS", '{"a": 1}', "text of one line"),
    ("SWITCH_HEADERS", '{"a": "x\\r\\ny"}', "text of one line"),
    ("SWITCH_HEADERS", '{"a": "\\ud83d\\ude00"}', "text of one line"),
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


REFUSALS = [
    b'400 {"error": {"message": "Unknown parameter: \'stream_options\'.", "param": "x"}}',
    b'422 {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs", "input": {}}]}',
    b"400 stream_options is not supported",
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_stream_options_are_left_out_once_they_are_refused(refusal: bytes) -> None:
    async with (
        answering(refusal, OPENAI) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        assert (await ask(switch, "hello")).text == "fine"
        assert (await ask(switch, "again")).text == "fine"
        bodies = [sent(request)[2] for request in server.requests]
    assert ["stream_options" in body for body in bodies] == [True, False, False]
    assert [body["messages"][0]["content"] for body in bodies] == ["hello", "hello", "again"]


@pytest.mark.parametrize(
    "refusal",
    [
        b'400 {"error": "context length exceeded"}',
        b'500 {"error": "stream_options"}',
        b'400 {"error": "cannot answer: what are stream_options?"}',
    ],
)
async def test_any_other_refusal_is_not_asked_again(refusal: bytes) -> None:
    async with (
        answering(refusal, OPENAI) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        with pytest.raises(ChatError):
            await ask(switch, "what are stream_options?")
        assert len(server.requests) == 1


async def test_a_server_that_refuses_max_tokens_gets_its_newer_name() -> None:
    refusal = b'400 {"error": {"message": "Use \'max_completion_tokens\' instead."}}'
    async with (
        answering(refusal, OPENAI) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        await ask(switch, prompt("hello", metadata={"max_tokens": 9}))
        bodies = [sent(request)[2] for request in server.requests]
    assert [b.get("max_tokens") for b in bodies] == [9, None]
    assert [b.get("max_completion_tokens") for b in bodies] == [None, 9]


async def test_a_server_that_refuses_all_is_asked_only_so_often() -> None:
    refusal = b'400 {"error": "stream_options, max_completion_tokens"}'
    async with (
        answering(refusal) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        with pytest.raises(ChatError):
            await ask(switch, prompt("hello", metadata={"max_tokens": 9}))
        assert len(server.requests) == 3


@pytest.mark.parametrize("dialect", ["vx11", "openai"])
async def test_think_tags_stay_text_where_the_setting_is_off(dialect: Any) -> None:
    text = "<think>hm</think>Hello"
    body = {"reply": text, "choices": [{"message": {"content": text}}]}
    async with (
        answering(json.dumps(body).encode()) as server,
        switch_at(server.url, switch_dialect=dialect, switch_think_tags="off") as switch,
    ):
        answer = await ask(switch, "hello")
    assert answer.text == text
    assert answer.reasoning == ""


async def test_developer_counts_as_system() -> None:
    history = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "then"},
        {"role": "assistant", "content": "yes"},
    ]
    async with (
        answering(OPENAI) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        await ask(switch, prompt("now", history=history))
        body = sent(server.requests[0])[2]
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(("dialect", "engine"), [("vx11", "hinted"), ("openai", "m")])
async def test_a_failed_chat_tells_who_was_asked_for(dialect: Any, engine: str) -> None:
    async with (
        answering(b"500 {}") as server,
        switch_at(server.url, switch_dialect=dialect, switch_model="m") as switch,
    ):
        with pytest.raises(ChatError) as caught:
            await ask(switch, prompt("hello", provider_hint="hinted"))
    assert caught.value.ending.provider == engine
    async with switch_at("http://127.0.0.1:1", switch_dialect=dialect) as switch:
        with pytest.raises(ChatError) as caught:
            await ask(switch, "hello")
    assert caught.value.ending.provider is None


async def test_a_failed_chat_tells_who_answered() -> None:
    body = b'{"status": "error", "provider": "hermes", "content": "Error: x"}'
    async with answering(body) as server, switch_at(server.url) as switch:
        with pytest.raises(ChatError) as caught:
            await ask(switch, prompt("hello", provider_hint="hinted"))
    assert caught.value.ending.provider == "hermes"
