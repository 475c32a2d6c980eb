"""The stand-ins: honest, countable, and as unkind as they are told to be."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from operator_svc import devpeers
from operator_svc.devpeers import DevPeers, ShubStandin
from operator_svc.devpeers.script import MODES
from operator_svc.devpeers.standin import Standin
from operator_svc.protocol.sse import Decoder
from tests.fakes.chats import TOKEN
from tests.fakes.eventually import eventually


def chat(message: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": message}], "stream": True, **fields}


STREAM = {"Accept": "text/event-stream"}


async def events(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    decoder = Decoder(10**6)
    return [json.loads(event.data) for event in decoder.feed(await response.read())]


async def statuses(
    http: aiohttp.ClientSession, method: str, urls: list[str], **options: Any
) -> list[int]:
    """The statuses of calls, one after another."""
    found = []
    for url in urls:
        async with http.request(method, url, **options) as response:
            found.append(response.status)
    return found


async def tell(http: aiohttp.ClientSession, standin: Standin, mode: Any) -> int:
    """Set how a stand-in behaves; the status of its answer."""
    (status,) = await statuses(http, "POST", [f"{standin.url}/standin/mode"], json=mode)
    return status


async def test_every_answer_says_that_it_is_a_standin(
    peers: DevPeers, http: aiohttp.ClientSession
) -> None:
    for url, name in (
        (f"{peers.switch.url}/health", "switch"),
        (f"{peers.switch.url}/switch/context", "switch"),
        (f"{peers.hermes.url}/hermes/available", "hermes"),
        (f"{peers.shub.url}/status", "shub"),
        (f"{peers.tentaculo_link.url}/vx11/status", "tentaculo_link"),
        (f"{peers.hermes.url}/no/such/thing", "hermes"),
    ):
        async with http.get(url) as response:
            assert response.headers["X-Stand-In"] == name
    async with http.post(f"{peers.switch.url}/switch/chat", json=chat("hello")) as response:
        body = await response.json()
    assert body["provider"] == "stand-in"
    assert body["reply"] == body["content"] == "[stand-in] You said: hello"


async def test_the_token_is_wanted_as_the_real_ones_want_it(peers: DevPeers) -> None:
    async with aiohttp.ClientSession() as session:
        for url, status, detail in (
            (f"{peers.switch.url}/switch/context", 401, "auth_required"),
            (f"{peers.switch.url}/health", 200, None),
            (f"{peers.hermes.url}/health", 401, "auth_required"),
            (f"{peers.shub.url}/status", 403, "Invalid VX11 token"),
            (f"{peers.shub.url}/health", 200, None),
            (f"{peers.tentaculo_link.url}/vx11/status", 200, None),
        ):
            async with session.get(url) as response:
                assert response.status == status, url
                assert (await response.json()).get("detail") == detail


async def test_hermes_has_no_resources(peers: DevPeers, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{peers.hermes.url}/hermes/resources") as response:
        assert response.status == 404


HISTORY = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
]
UNEVEN: list[list[dict[str, Any]]] = [
    HISTORY[:1],
    HISTORY[1:],
    HISTORY + HISTORY[:1],
    [HISTORY[0], *HISTORY],
    [{"role": "tool", "content": "x"}, *HISTORY],
    [{"role": "system", "content": "x"}, {"role": "system", "content": "x"}, *HISTORY],
    [HISTORY[0], {"role": "assistant", "content": ""}],
    [HISTORY[0], {"role": "assistant"}],
]


async def in_both_dialects(
    peers: DevPeers, http: aiohttp.ClientSession, history: list[dict[str, Any]]
) -> list[tuple[int, str]]:
    """Status and body of a chat with this history, in VX11's dialect and in OpenAI's."""
    answers = []
    for path, body in (
        ("/switch/chat", chat("hello", metadata={"history": history})),
        ("/v1/chat/completions", {"messages": [*history, {"role": "user", "content": "hello"}]}),
    ):
        async with http.post(f"{peers.switch.url}{path}", json=body) as response:
            answers.append((response.status, await response.text()))
    return answers


@pytest.mark.parametrize("history", UNEVEN)
async def test_histories_that_do_not_alternate_are_refused(
    peers: DevPeers, http: aiohttp.ClientSession, history: list[dict[str, Any]]
) -> None:
    (vx11, _), (openai, told) = await in_both_dialects(peers, http, history)
    assert (vx11, openai) == (422, 422)
    assert "alternate" in told or "must" in told


@pytest.mark.parametrize(
    "history", [[], HISTORY, [{"role": "system", "content": "x"}, *HISTORY, *HISTORY]]
)
async def test_histories_of_pairs_are_taken(
    peers: DevPeers, http: aiohttp.ClientSession, history: list[dict[str, Any]]
) -> None:
    assert [s for s, _ in await in_both_dialects(peers, http, history)] == [200, 200]


async def test_only_the_first_message_is_answered(
    peers: DevPeers, http: aiohttp.ClientSession
) -> None:
    body = {"messages": [{"role": "system", "content": "first"}, {"role": "user", "content": "x"}]}
    async with http.post(f"{peers.switch.url}/switch/chat", json=body) as response:
        assert (await response.json())["reply"] == "[stand-in] You said: first"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"messages": 7}', b'{"messages": [{}]}'])
async def test_bad_chats_are_422(peers: DevPeers, http: aiohttp.ClientSession, body: bytes) -> None:
    async with http.post(f"{peers.switch.url}/switch/chat", data=body) as response:
        assert response.status == 422
        assert (await response.json())["detail"]


async def test_tokens_come_at_their_rate(peers: DevPeers, http: aiohttp.ClientSession) -> None:
    body = chat("[[stamp]] [[rate=50]] [[tokens=25]]")
    url = f"{peers.switch.url}/switch/chat"
    started = time.monotonic()
    async with http.post(url, json=body, headers=STREAM) as response:
        assert response.content_type == "text/event-stream"
        answer = await events(response)
    assert time.monotonic() - started < 5
    sent = [float(event["content"]) for event in answer if event["type"] == "token"]
    assert len(sent) == 25
    assert all(at >= started + n / 50 for n, at in enumerate(sent)), "one came before its time"
    assert started < sent[0] < sent[-1] < time.monotonic()
    assert answer[-1]["type"] == "done"
    assert answer[-1]["tokens_used"] == 25


async def test_it_is_told_by_a_call_of_its_own_for_so_many_chats(
    peers: DevPeers, http: aiohttp.ClientSession
) -> None:
    assert await tell(http, peers.switch, {"chat": {"mode": "500"}, "times": 2}) == 200
    urls = [f"{peers.switch.url}/switch/chat"] * 3
    assert await statuses(http, "POST", urls, json=chat("hello")) == [500, 500, 200]


async def test_it_is_told_by_metadata_and_by_the_message(
    peers: DevPeers, http: aiohttp.ClientSession
) -> None:
    url = f"{peers.switch.url}/switch/chat"
    async with http.post(url, json=chat("x", metadata={"standin": {"mode": "partial"}})) as told:
        assert (await told.json())["status"] == "partial"
    async with http.post(url, json=chat("[[error]] x")) as told:
        body = await told.json()
        assert told.status == 200
        assert body["status"] == "error"
        assert "reply" not in body
        assert body["content"].startswith("Error: ")
    async with http.post(url, json=chat("[[words]] and [[=]]")) as told:
        assert (await told.json())["status"] == "ok", "what is no directive is text"


@pytest.mark.parametrize(
    "told", [{"chat": {"mode": "unheard-of"}}, {"calls": {"mode": 7}}, {"times": "x"}, [], 7]
)
async def test_nonsense_modes_are_refused(
    peers: DevPeers, http: aiohttp.ClientSession, told: Any
) -> None:
    assert await tell(http, peers.switch, told) == 422


async def test_plain_calls_are_unkind_for_so_long_as_told(
    peers: DevPeers, http: aiohttp.ClientSession
) -> None:
    mode = {"calls": {"mode": "500", "path": "/hermes/list", "times": 1}}
    assert await tell(http, peers.hermes, mode) == 200
    urls = [peers.hermes.url + path for path in ("/hermes/available", *["/hermes/list"] * 2)]
    assert await statuses(http, "GET", urls) == [200, 500, 200]


async def test_it_counts_calls_by_message_and_sees_who_leaves(
    peers: DevPeers, http: aiohttp.ClientSession
) -> None:
    url = f"{peers.switch.url}/switch/chat"

    async def stats() -> dict[str, Any]:
        async with http.get(f"{peers.switch.url}/standin/stats") as response:
            body: dict[str, Any] = await response.json()
            return body

    for _ in range(2):
        async with http.post(url, json=chat("one")) as response:
            await response.read()
    async with http.post(url, json=chat("[[endless]] [[rate=100]]"), headers=STREAM) as response:
        await response.content.readany()
        assert (await stats())["chats"]["running"] == 1

    async def aborted() -> bool:
        return bool((await stats())["chats"]["aborted"])

    await eventually(aborted)
    seen = await stats()
    one, every = seen["by_message"]["one"], seen["chats"]
    assert one == {"calls": 2, "running": 0, "max_running": 1, "finished": 2, "aborted": 0}
    assert every == {"calls": 3, "running": 0, "max_running": 1, "finished": 2, "aborted": 1}
    async with http.get(f"{peers.switch.url}/standin/recent") as response:
        assert [call["messages"][0]["content"] for call in await response.json()][:2] == ["one"] * 2


async def test_every_mode_can_be_asked_for_and_leaves_nothing_running(
    peers: DevPeers, http: aiohttp.ClientSession
) -> None:
    url = f"{peers.switch.url}/switch/chat"

    async def read(body: dict[str, Any]) -> None:
        async with http.post(url, json=body, headers=STREAM, allow_redirects=False) as response:
            assert response.headers["X-Stand-In"] == "switch"
            await response.read()

    async def ask(mode: str) -> None:
        calls = peers.switch.total.calls
        told = chat("x", metadata={"standin": {"mode": mode, "size": 1000}})
        asking = asyncio.create_task(read(told))
        await eventually(lambda: peers.switch.total.calls > calls)
        # The modes that stall, go on for ever or cut.
        with suppress(TimeoutError, aiohttp.ClientError):
            await asyncio.wait_for(asking, 0.15)

    for mode in MODES:
        await ask(mode)
    await eventually(lambda: not peers.switch.total.running)
    assert peers.switch.total.calls == len(MODES)


async def test_a_taken_port_leaves_nothing_behind(peers: DevPeers) -> None:
    port = int(peers.shub.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await devpeers.start(TOKEN, shub_port=port)


async def test_the_gateway_asks_operator_too(http: aiohttp.ClientSession) -> None:
    operator = ShubStandin()  # any health will do for Operator's
    url = await operator.start()
    async with (
        await devpeers.start(TOKEN, operator_url=url) as running,
        http.get(f"{running.tentaculo_link.url}/vx11/status") as response,
    ):
        modules = (await response.json())["modules"]
    await operator.aclose()
    assert modules["operator-backend"]["status"] == "ok"
    assert modules["madre"]["error"] == "[stand-in] not running"


async def test_a_reader_that_does_not_read_costs_no_memory(peers: DevPeers) -> None:
    port = int(peers.switch.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    body = json.dumps(chat("x", metadata={"standin": {"mode": "big", "rate": 100_000}})).encode()
    writer.write(
        b"POST /switch/chat HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        b"X-VX11-Token: %s\r\nContent-Length: %d\r\n\r\n%s" % (TOKEN.encode(), len(body), body)
    )
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.5)  # time in which it would send all of it
    assert peers.switch.total.running == 1, "it goes on only as its reader does"
    writer.close()
