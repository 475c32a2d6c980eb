"""The overview: by the gateway, by the modules themselves, and when nobody answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from aioresponses import CallbackResult

from operator_svc import __version__
from operator_svc.devpeers import start
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.system import Overview
from operator_svc.services.system import overview as service
from operator_svc.settings import Settings
from tests.fakes.bad_peers import URLS, everywhere, gone, hung, unused_url
from tests.fakes.peer_answers import PeerAnswers
from tests.system.views import FakeDatabase, system

MODULES = [
    "tentaculo_link", "madre", "switch", "hermes", "hormiguero", "manifestator", "mcp", "shub",
    "spawner", "operator",
]  # fmt: skip


async def look(settings: Settings, database: FakeDatabase | None = None) -> Overview:
    async with system(settings, database) as parts:
        fresh = await parts.overview.get()
        assert list(fresh.value.modules) == MODULES
        return fresh.value


def statuses(seen: Overview) -> dict[str, str]:
    return {name: module.status for name, module in seen.modules.items()}


GATEWAY = Settings(token="t").tentaculo_link_url + "/vx11/status"


def gateway_says(http: PeerAnswers, modules: dict[str, Any], **fields: Any) -> None:
    http.get(
        GATEWAY, payload={"ok": True, "status": "ok", "modules": modules, **fields}, repeat=True
    )


async def test_gateway_that_finds_all_well_makes_the_overview_ok(http: PeerAnswers) -> None:
    named = [name for name in MODULES if name not in ("tentaculo_link", "operator")]
    gateway_says(
        http,
        {
            **{name: {"status": "ok", "module": name, "version": "7.1"} for name in named},
            "operator-backend": {"status": "error", "module": "operator", "error": "timeout"},
        },
        version="7.2",
    )
    seen = await look(Settings(token="t"))
    assert (seen.status, seen.healthy_modules, seen.total_modules, seen.source) == (
        "ok", 10, 10, "tentaculo_link",
    )  # fmt: skip
    assert seen.modules["madre"].version == "7.1"
    assert seen.modules["madre"].latency_ms is None, "only the gateway knows"
    assert seen.modules["tentaculo_link"].version == "7.2"
    assert seen.modules["tentaculo_link"].latency_ms is not None
    assert seen.modules["operator"].version == __version__
    assert seen.modules["operator"].status == "ok", "what the gateway says of us is not asked"


async def test_each_word_of_the_gateway_becomes_a_status(http: PeerAnswers) -> None:
    gateway_says(
        http,
        {
            "madre": {"status": "ok"},
            "switch": {"status": "error", "module": "switch", "error": "Connection refused"},
            "hermes": {"status": "error", "module": "hermes", "error": "Read timeout"},
            "hormiguero": {"status": "circuit_open", "module": "hormiguero"},
            "manifestator": {"status": "degraded"},
            "mcp": {"status": 7},
            "shubniggurath": {"status": "healthy", "version": 2},
            "spawner": {},
            "newcomer": {"status": "ok"},
        },
    )
    seen = await look(Settings(token="t"))
    assert statuses(seen) == {
        "tentaculo_link": "ok", "madre": "ok", "switch": "error", "hermes": "timeout",
        "hormiguero": "circuit_open", "manifestator": "error", "mcp": "unknown", "shub": "ok",
        "spawner": "unknown", "operator": "ok",
    }  # fmt: skip
    assert (seen.status, seen.healthy_modules) == ("degraded", 4)
    assert seen.modules["shub"].version == "2"
    assert "refused" not in str(seen.modules["switch"].error), "its own words stay in the log"
    assert msgspec.to_builtins(seen.modules["madre"]).keys() == {
        "status", "latency_ms", "checked_at",
    }  # fmt: skip


async def test_module_that_the_gateway_leaves_out_is_asked_itself(http: PeerAnswers) -> None:
    """The real gateway has a client for eight modules, and none for manifestator."""
    named = [name for name in MODULES if name not in ("tentaculo_link", "operator", "manifestator")]
    gateway_says(http, {name: {"status": "ok", "module": name} for name in named})
    url = Settings(token="t").manifestator_url + "/health"
    http.get(url, payload={"status": "ok", "version": "3"}, repeat=True)
    seen = await look(Settings(token="t"))
    assert (seen.status, seen.healthy_modules, seen.source) == ("ok", 10, "tentaculo_link")
    assert seen.modules["manifestator"].version == "3"
    assert seen.modules["manifestator"].latency_ms is not None
    assert seen.modules["madre"].latency_ms is None, "only the gateway knows"


async def test_module_that_neither_the_gateway_nor_itself_reports_is_an_error(
    http: PeerAnswers,
) -> None:
    gateway_says(http, {"madre": {"status": "ok"}})
    seen = await look(Settings(token="t"))
    assert statuses(seen)["spawner"] == "error"
    assert (seen.status, seen.healthy_modules) == ("degraded", 3)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500},
        {"status": 404},
        {"status": 307, "headers": {"Location": "/vx11/status"}},
        {"body": "<html>"},
        {"body": '{"modules": '},
        {"payload": ["no", "object"]},
        {"payload": {"ok": True}},
        {"payload": {"modules": "none"}},
        {"payload": {"modules": {"madre": "ok"}}},
        {"payload": {"modules": {}}},
        {"payload": {"modules": {"stranger": {"status": "ok"}}}},
        {"exception": ConnectionResetError()},
    ],
    ids=str,
)
async def test_gateway_of_no_use_means_asking_each_module(
    http: PeerAnswers, answer: dict[str, Any]
) -> None:
    settings = Settings(token="t")
    http.get(GATEWAY, repeat=True, **answer)
    for name in URLS:
        url = getattr(settings, name) + "/health"
        module = name.removesuffix("_url")
        http.get(url, payload={"status": "ok", "module": module, "version": "9"}, repeat=True)
    seen = await look(settings)
    assert (seen.status, seen.healthy_modules, seen.source) == ("ok", 10, "direct")
    assert seen.modules["madre"].version == "9"
    assert seen.modules["madre"].latency_ms is not None


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"payload": {"status": "ok"}}, "ok"),
        ({"payload": {"status": "operational"}}, "ok"),
        ({"payload": {"status": "error"}}, "error"),
        ({"payload": {"status": "initializing"}}, "error"),
        ({"payload": {"up": True}}, "error"),
        ({"payload": []}, "error"),
        ({"status": 503}, "error"),
        ({"status": 401, "payload": {"detail": "auth_required"}}, "error"),
        ({"exception": TimeoutError()}, "timeout"),
    ],
    ids=str,
)
async def test_each_answer_of_a_module_becomes_a_status(
    http: PeerAnswers, answer: dict[str, Any], status: str
) -> None:
    http.get(Settings(token="t").madre_url + "/health", repeat=True, **answer)
    seen = await look(Settings(token="t"))
    assert statuses(seen)["madre"] == status
    assert seen.source == "direct"
    assert seen.modules["madre"].latency_ms is not None
    assert bool(seen.modules["madre"].error) == (status != "ok")


async def test_unreachable_peers_make_the_overview_down() -> None:
    seen = await look(gone())
    assert (seen.status, seen.healthy_modules, seen.source) == ("down", 1, "direct")
    assert set(statuses(seen).values()) == {"error", "ok"}


async def test_module_with_an_open_circuit_is_not_asked_and_shown_so() -> None:
    async with system(gone()) as parts:
        for _ in range(5):
            parts.overview.forget()
            await parts.overview.get()
        parts.overview.forget()
        seen = (await parts.overview.get()).value
    assert statuses(seen)["madre"] == "circuit_open"
    assert seen.modules["madre"].latency_ms is None, "it was not asked"


@pytest.mark.measures_time
async def test_thousand_callers_at_once_share_one_round_of_hanging_calls() -> None:
    """The database too; a thousand at once are answered by one round, within 3 s."""
    database = FakeDatabase()
    database.hangs = True
    async with hung() as peer:
        async with system(everywhere(peer.url), database) as parts:
            begun = time.monotonic()
            answers = await asyncio.gather(*[parts.overview.get() for _ in range(1000)])
            took = time.monotonic() - begun
        calls = peer.calls
    assert took < 3.0
    assert len({id(fresh.value) for fresh in answers}) == 1
    assert calls == 10, "the gateway, then each module once"
    seen = answers[0].value
    assert set(statuses(seen).values()) == {"timeout"}
    assert (seen.status, seen.healthy_modules) == ("down", 0)


async def test_own_status_is_that_of_the_database(http: PeerAnswers) -> None:
    gateway_says(http, {"operator": {"status": "ok"}, "madre": {"status": "ok"}})
    database = FakeDatabase()
    database.error = OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "the database is away")
    seen = await look(Settings(token="t"), database)
    assert seen.modules["operator"].status == "error"
    assert seen.modules["operator"].error == "the database is away"
    assert seen.status == "degraded"


async def test_gateway_that_asks_our_health_makes_no_loop() -> None:
    """The gateway asks our /health in turn, never our overview."""
    async with await start("t") as peers:
        asked: list[str] = []
        operator = await asyncio.start_server(
            lambda r, w: _answer_health(r, w, asked), "127.0.0.1", 0
        )
        port = operator.sockets[0].getsockname()[1]
        peers.tentaculo_link.modules["operator-backend"] = f"http://127.0.0.1:{port}"
        settings = gone(tentaculo_link_url=peers.tentaculo_link.url)
        seen = await look(settings)
        operator.close()
        await operator.wait_closed()
    assert asked == ["GET /health"]
    assert seen.source == "tentaculo_link"
    assert peers.tentaculo_link.counts == {"/vx11/status": 1}


async def _answer_health(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[str]
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    asked.append(head.split(b" HTTP")[0].decode())
    writer.write(b'HTTP/1.0 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}')
    await writer.drain()
    writer.close()


async def test_slow_gateway_costs_no_more_than_its_share_of_time(
    http: PeerAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "GATEWAY_WITHIN", 0.1)

    async def slow(*_: object, **__: object) -> CallbackResult:
        await asyncio.sleep(60)  # it hangs
        return CallbackResult(payload={})

    http.get(GATEWAY, callback=slow)
    begun = time.monotonic()
    seen = await look(Settings(token="t", madre_url=unused_url()))
    assert time.monotonic() - begun < 20
    assert seen.source == "direct"
