"""Hermes, Shub, the gateway and the modules, case by case, and Switch's calls beside chats."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, get_args

import pytest

from operator_svc import devpeers
from operator_svc.devpeers import Calls, DevPeers
from operator_svc.devpeers.standin import CallMode, Standin
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.base import PEER, SWITCH, CallPolicy, Failures, Peer, PeerRefusedError
from operator_svc.peers.breaker import FAILURES_TO_OPEN, Breaker, CircuitOpenError
from operator_svc.peers.chat_stream import Timeouts
from operator_svc.peers.dialect_vx11 import Vx11Dialect
from operator_svc.peers.gateway import TentaculoLink, make_tentaculo_link
from operator_svc.peers.hermes import Hermes, make_hermes
from operator_svc.peers.modules import make_modules
from operator_svc.peers.shub import Shub, make_shub
from operator_svc.peers.switch import Switch, make_switch
from operator_svc.peers.transport import vx11_headers
from operator_svc.settings import Settings, load
from tests.fakes.chats import TOKEN
from tests.fakes.peer_answers import PeerAnswers


@pytest.fixture
async def peers() -> AsyncIterator[DevPeers]:
    async with await devpeers.start(TOKEN) as running:
        yield running


@pytest.fixture
def settings(peers: DevPeers) -> Settings:
    return load(Settings, {"OPERATOR_TOKEN": TOKEN, **peers.environment})[0]


def closing(make: Callable[[Settings], Any]) -> Any:
    """A fixture: a client of the stand-ins, made by ``make`` and closed after the test."""

    @pytest.fixture
    async def client(settings: Settings) -> AsyncIterator[Any]:
        async with aclosing(make(settings)) as made:
            yield made

    return client


switch, hermes, shub = closing(make_switch), closing(make_hermes), closing(make_shub)
gateway = closing(make_tentaculo_link)


async def test_hermes_lists_its_models_and_its_catalog(hermes: Hermes) -> None:
    available = await hermes.available()
    assert available.binaries["docker"] is False
    assert "standin-small" in available.models
    models = await hermes.models()
    assert models[1].name == "standin-medium"
    assert models[1].size_mb == 2000
    assert models[1].category == "general"
    catalog = await hermes.catalog(max_mb=800)
    assert [model.name for model in catalog.local] == ["standin-small", "standin-hermes-only"]
    assert catalog.limits.max_mb == 800
    assert len((await hermes.catalog()).local) == 3


async def test_shub_tells_its_state_and_refuses_a_wrong_token(peers: DevPeers, shub: Shub) -> None:
    status = await shub.status()
    assert status.health.status == "operational"
    assert status.memory_usage_mb == 0
    assert (await shub.ready()).dsp_ready is True
    assert await shub.projects() is None, "a stub is no empty list"
    peers.shub.projects = [{"name": "a song"}]
    assert await shub.projects() == [{"name": "a song"}]
    peers.shub.projects = []
    assert await shub.projects() == []
    peers.shub.token = "another"
    with pytest.raises(PeerRefusedError) as caught:
        await shub.status()
    assert caught.value.status == 403
    assert "Invalid" not in str(caught.value)


async def test_the_gateway_tells_the_state_of_each_module(
    peers: DevPeers, gateway: TentaculoLink
) -> None:
    peers.tentaculo_link.circuit_open.add("mcp")
    status = await gateway.system_status()
    assert status.ok is True
    assert status.modules["switch"]["status"] == "ok"
    assert status.modules["hermes"]["module"] == "hermes"
    assert status.modules["madre"]["status"] == "error"
    assert status.modules["mcp"] == {"status": "circuit_open", "module": "mcp"}
    assert status.summary.healthy_modules == 3
    assert status.ports["operator-backend"] == 8011


async def test_the_health_of_each_module(settings: Settings) -> None:
    modules = make_modules(settings)
    assert list(modules) == [
        "tentaculo_link",
        "madre",
        "switch",
        "hermes",
        "hormiguero",
        "manifestator",
        "mcp",
        "shub",
        "spawner",
    ]
    for name in ("tentaculo_link", "switch", "hermes", "shub"):
        seen = await modules[name].health()
        assert seen.health.status == "ok"
        assert seen.health.version == "stand-in"
        assert seen.latency_ms > 0
        await modules[name].aclose()


@pytest.mark.parametrize(
    ("body", "status", "version"),
    [
        ({"status": "ok"}, "ok", None),
        ({"status": "error", "version": 7}, "error", "7"),
        ({"status": "degraded", "version": {"major": 1}, "module": 3}, "degraded", None),
    ],
)
async def test_health_is_read_widely(body: Any, status: str, version: str | None) -> None:
    module = make_modules(Settings(token=TOKEN))["madre"]
    with PeerAnswers() as fake:
        fake.get("http://madre:8001/health", payload=body)
        seen = await module.health()
    assert (seen.health.status, seen.health.version) == (status, version)
    await module.aclose()


@pytest.mark.parametrize("body", [{}, {"status": None}, {"status": True}, [], "ok", None])
async def test_health_that_is_none(body: Any) -> None:
    module = make_modules(Settings(token=TOKEN))["madre"]
    with PeerAnswers() as fake:
        fake.get("http://madre:8001/health", payload=body, body="null" if body is None else "")
        with pytest.raises(OperatorError) as caught:
            await module.health()
    assert caught.value.code == ErrorCode.PEER_ERROR
    await module.aclose()


async def test_switchs_other_calls(peers: DevPeers, switch: Switch) -> None:
    models = await switch.models_available()
    assert models.active == "standin-small"
    assert models.models[0].size_mb == 100
    assert models.cli_registry[0].available is False
    providers = await switch.providers()
    assert {provider.kind for provider in providers.providers} == {"local", "cli"}
    assert (await switch.context()).mode == "BALANCED"
    changed = await switch.set_mode("ECO")
    assert changed.mode == "ECO"
    assert changed.profile["max_models"] == 1
    assert (await switch.context()).mode == "ECO"

    assert (await switch.set_default_model("standin-large")).active == "standin-large"
    assert (await switch.preload_model("standin-medium")).warm == "standin-medium"
    context = await switch.context()
    assert (context.active_model, context.warm_model) == ("standin-large", "standin-medium")

    recorded = await switch.record_result("standin-small", False, 12.5, None)
    assert recorded.recorded is True
    assert peers.switch.state.recorded[-1] == {
        "engine": "standin-small",
        "success": False,
        "latency_ms": 12.5,
        "tokens": None,
    }


async def test_what_switch_refuses(switch: Switch) -> None:
    with pytest.raises(PeerRefusedError) as caught:
        await switch.set_mode("TURBO")
    assert (caught.value.code, caught.value.status) == (ErrorCode.SWITCH_ERROR, 200)
    for call in (switch.set_default_model("nobody"), switch.preload_model("nobody")):
        with pytest.raises(PeerRefusedError) as caught:
            await call
        assert (caught.value.code, caught.value.status) == (ErrorCode.SWITCH_ERROR, 404)


UNKIND: dict[CallMode, str] = {
    "500": "error",
    "404": "error",
    "status_error": "error",
    "html": "error",
    "broken_json": "error",
    "wrong_shape": "error",
    "big": "error",
    "cut": "error",
    "redirect": "error",
    "hang": "timeout",
}


def test_all_unkindness_is_tried() -> None:
    assert {*UNKIND, "ok"} == set(get_args(CallMode))


@asynccontextmanager
async def patient_clients(
    peers: DevPeers, timeout: float
) -> AsyncIterator[tuple[Switch, Hermes, Shub, TentaculoLink]]:
    """Clients that wait for ``timeout`` seconds and whose circuits no failure opens."""

    def peer(standin: Standin, failures: Failures = PEER) -> Peer:
        policy = CallPolicy(timeout=timeout)
        breaker = Breaker(standin.name, failures.unavailable, threshold=1000)
        headers = vx11_headers(TOKEN)
        return Peer(
            standin.name, standin.url, headers, failures=failures, policy=policy, breaker=breaker
        )

    chats, calls = peer(peers.switch, SWITCH), peer(peers.switch, SWITCH)
    async with (
        aclosing(Switch(chats, calls, Vx11Dialect(), Timeouts(1.0, 1.0, 1.0))) as switch,
        aclosing(Hermes(peer(peers.hermes))) as hermes,
        aclosing(Shub(peer(peers.shub))) as shub,
        aclosing(TentaculoLink(peer(peers.tentaculo_link))) as gateway,
    ):
        yield switch, hermes, shub, gateway


def reads(
    switch: Switch, hermes: Hermes, shub: Shub, gateway: TentaculoLink
) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """Calls that wait as long as their client does, each with the kind of its errors."""
    for of_switch in (switch.models_available, switch.providers, switch.context):
        yield "switch", of_switch
    for of_hermes in (hermes.available, hermes.models, hermes.catalog):
        yield "peer", of_hermes
    for of_shub in (shub.status, shub.ready, shub.projects, gateway.system_status):
        yield "peer", of_shub


def changes(switch: Switch) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """Calls of Switch that have longer times of their own."""
    yield "switch", lambda: switch.set_mode("ECO")
    yield "switch", lambda: switch.preload_model("standin-small")
    yield "switch", lambda: switch.record_result("standin-small", True, 1, 1)


@pytest.mark.parametrize("mode", UNKIND)
async def test_every_call_of_every_peer_bears_every_unkindness(
    peers: DevPeers, mode: CallMode
) -> None:
    for standin in (peers.switch, peers.hermes, peers.shub, peers.tentaculo_link):
        standin.calls = Calls(mode=mode)
    async with patient_clients(peers, 0.2 if mode == "hang" else 10.0) as clients:
        calls = [*reads(*clients), *(changes(clients[0]) if mode != "hang" else ())]
        for kind, call in calls:
            with pytest.raises(OperatorError) as caught:
                await call()
            assert caught.value.code == f"{kind}_{UNKIND[mode]}"
            assert "stand-in" not in str(caught.value)


async def test_a_module_whose_circuit_is_open_is_not_asked(
    peers: DevPeers, settings: Settings
) -> None:
    peers.hermes.calls = Calls(mode="500")
    module = make_modules(settings)["hermes"]
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(OperatorError):
            await module.health()
    with pytest.raises(CircuitOpenError):
        await module.health()
    await module.aclose()


async def test_a_module_has_its_own_deadline(peers: DevPeers, settings: Settings) -> None:
    peers.hermes.calls = Calls(mode="hang")
    module = make_modules(settings)["hermes"]
    started = time.monotonic()
    with pytest.raises(OperatorError) as caught:
        await module.health(within=0.1)
    assert caught.value.code == ErrorCode.PEER_TIMEOUT
    assert time.monotonic() - started < 2
    await module.aclose()
