"""The table in docs/system.md: what each call answers when a peer is up, slow, wrong, gone or
lying. Each cell is tried with the stand-ins and compared with what the table says.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web

from operator_svc.devpeers import DevPeers, Standin, start
from operator_svc.devpeers.standin import json_response
from operator_svc.devpeers.switch_calls import SwitchCalls
from tests.rest.rest_service import TOKEN, Service, running

DOC = Path(__file__).parents[2] / "docs" / "system.md"
STATES = ("up", "slow", "wrong", "gone", "lying")
UNKIND = {"slow": "hang", "wrong": "500", "lying": "wrong_shape"}
MOST = 3.0
"""Seconds within which overview, dashboard and resources answer."""


class Module(Standin):
    """A module that has nothing but its health."""

    name = "module"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/health", self._health)]

    async def _health(self, _: web.Request) -> web.Response:
        return json_response({"status": "ok", "module": "stand-in", "version": "stand-in"})


@dataclass
class World:
    """A service with all of its peers."""

    service: Service
    peers: DevPeers
    madre: Module
    others: Module

    def group(self, name: str) -> list[Standin]:
        """The peers that a row of the table speaks of."""
        peers = self.peers
        groups: dict[str, list[Standin]] = {
            "the gateway": [peers.tentaculo_link],
            "one module": [self.madre],
            "Shub": [peers.shub],
            "Hermes": [peers.hermes],
            "Switch": [peers.switch],
        }
        everybody = [
            peers.tentaculo_link, peers.shub, peers.hermes, peers.switch, self.madre, self.others,
        ]  # fmt: skip
        return groups.get(name, everybody)

    async def become(self, state: str, group: str) -> None:
        """Make these peers so."""
        for peer in self.group(group):
            if state == "gone":
                await peer.aclose()
            elif state != "up":
                peer.set_mode({"calls": {"mode": UNKIND[state]}})


@asynccontextmanager
async def world(database: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(await start(TOKEN))
        madre, others = Module(TOKEN), Module(TOKEN)
        for module in (madre, others):
            stack.push_async_callback(module.aclose)
            await module.start()
        names = ("hormiguero", "manifestator", "mcp", "spawner")
        places: dict[str, Any] = {f"{name}_url": others.url for name in names}
        peers.tentaculo_link.modules |= dict.fromkeys(names, others.url)
        peers.tentaculo_link.modules["madre"] = madre.url
        service = await stack.enter_async_context(
            running(
                f"sqlite:///{database}", switch_url=peers.switch.url, hermes_url=peers.hermes.url,
                shub_url=peers.shub.url, tentaculo_link_url=peers.tentaculo_link.url,
                madre_url=madre.url, **places,
            )
        )  # fmt: skip
        peers.tentaculo_link.modules["operator-backend"] = service.url
        yield World(service, peers, madre, others)


Probe = Callable[[World, str, str], Awaitable[str]]


async def quick(world: World, path: str) -> dict[str, Any]:
    begun = time.monotonic()
    response = await world.service.get(path)
    assert response.status == 200
    assert time.monotonic() - begun < MOST
    body: dict[str, Any] = await response.json()
    return body


async def overview(world: World, state: str, group: str) -> str:
    await world.become(state, group)
    body = await quick(world, "/operator/vx11/overview")
    source = "by the gateway" if body["source"] == "tentaculo_link" else "direct"
    assert body["modules"]["operator"]["status"] == "ok"
    return f"200 {body['status']}, {source}"


async def dashboard(world: World, state: str, group: str) -> str:
    await world.become(state, group)
    return f"200 {(await quick(world, '/operator/shub/dashboard'))['status']}"


async def resources(world: World, state: str, group: str) -> str:
    await world.become(state, group)
    return f"200 {(await quick(world, '/operator/resources'))['status']}"


async def health(world: World, state: str, group: str) -> str:
    await world.become(state, group)
    begun = time.monotonic()
    busy = asyncio.ensure_future(world.service.get("/operator/vx11/overview"))
    body = await quick(world, "/health")
    assert time.monotonic() - begun < 1.0, "an overview under way does not hold it up"
    await busy
    return f"200 {body['status']}"


async def tool_call(world: World, state: str, group: str) -> str:
    chat = await world.service.chat()
    await world.become(state, group)
    body = {"message_id": chat["reply_id"], "tool_name": "t", "status": "ok"}
    return await said(await world.service.post("/operator/tool/call", body), "status")


ADJUST = "/operator/switch/adjustment"
CHANGE = {"after_config": {"mode": "ECO"}, "reason": "the table"}


async def record_before(world: World, state: str, group: str) -> str:
    await world.become(state, group)
    body = {**CHANGE, "before_config": {"mode": "BALANCED"}}
    return await said(await world.service.post(ADJUST, body), "status")


async def record(world: World, state: str, group: str) -> str:
    await world.become(state, group)
    return await said(await world.service.post(ADJUST, CHANGE), "status")


def forget(switch: SwitchCalls) -> None:
    """From now on Switch says that its mode was changed, and leaves it as it is."""
    mode = switch.mode
    frozen = property(lambda _: mode, lambda _, __: None)
    switch.__class__ = type("Forgetful", (SwitchCalls,), {"mode": frozen})


async def change(world: World, state: str, group: str, act: str) -> str:
    row = await (await world.service.post(ADJUST, CHANGE)).json()
    path = f"{ADJUST}/{row['id']}"
    if act == "revert":
        assert (await world.service.post(f"{path}/apply")).status == 200
    if state == "lying":
        forget(world.peers.switch.state)
    else:
        await world.become(state, group)
    response = await world.service.post(f"{path}/{act}")
    body = await response.json()
    applied = "applied" if body["applied"] else "not applied"
    if response.status == 200:
        return f"200 {applied}"
    listed = await (await world.service.get("/operator/switch/adjustments")).json()
    assert listed["adjustments"] == [body["adjustment"]], "the failure is stored"
    assert body["adjustment"]["error"].startswith(body["error"])
    return f"{response.status} {body['error']}, {applied}"


async def apply(world: World, state: str, group: str) -> str:
    return await change(world, state, group, "apply")


async def revert(world: World, state: str, group: str) -> str:
    return await change(world, state, group, "revert")


async def adjustments(world: World, state: str, group: str) -> str:
    await world.become(state, group)
    return str((await world.service.get("/operator/switch/adjustments")).status)


async def feedback(world: World, state: str, group: str) -> str:
    await world.become(state, group)
    body = {"engine": "e", "success": True, "latency_ms": 5}
    answer = await said(await world.service.post("/operator/switch/feedback", body), "status")
    patience = time.monotonic() + (30.0 if state != "slow" else 2.0)
    while time.monotonic() < patience:
        async with world.service.operator.core.database.transaction() as tx:
            ((forwarded, attempts),) = await tx.fetch(
                "SELECT forwarded_at, attempts FROM operator_switch_feedback"
            )
        if forwarded is not None:
            return f"{answer}, forwarded"
        if attempts:
            break
        await asyncio.sleep(0.05)  # one more look, within the patience
    return f"{answer}, waits"


async def engines(world: World, state: str, group: str) -> str:
    body = {"engine": "standin-large", "success": True, "latency_ms": 5}
    await world.service.post("/operator/switch/feedback", body)
    await world.become(state, group)
    shown = await quick(world, "/operator/switch/engines")
    assert [engine["engine"] for engine in shown["engines"]] == ["standin-large"]
    if shown["recommend"] is not None:
        return "200 recommends"
    return f"200 {shown['recommend_error']['error']}"


async def said(response: ClientResponse, field: str) -> str:
    body = await response.json()
    return f"{response.status} {body['error'] if response.status >= 400 else body[field]}"


PROBES: dict[str, Probe] = {
    "`GET /operator/vx11/overview`": overview,
    "`GET /operator/shub/dashboard`": dashboard,
    "`GET /operator/resources`": resources,
    "`POST /operator/tool/call`": tool_call,
    "`POST /operator/switch/adjustment` with `before_config`": record_before,
    "`POST /operator/switch/adjustment` without": record,
    "`POST /operator/switch/adjustment/{id}/apply`": apply,
    "`POST /operator/switch/adjustment/{id}/revert`": revert,
    "`GET /operator/switch/adjustments`": adjustments,
    "`POST /operator/switch/feedback`": feedback,
    "`GET /operator/switch/engines`": engines,
    "`GET /health`": health,
}


def table() -> list[tuple[str, str, dict[str, str]]]:
    """The table's rows: the call, the peer, and a cell for each state."""
    rows = []
    text = DOC.read_text(encoding="utf-8").partition("## Responses when peers fail")[2]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 2 + len(STATES) and cells[0] in PROBES:
            rows.append((cells[0], cells[1], dict(zip(STATES, cells[2:], strict=True))))
    return rows


def test_table_has_all_calls() -> None:
    assert {row[0] for row in table()} == set(PROBES)
    assert len(table()) == 16
    head = "| call | peer | " + " | ".join(STATES) + " |"
    assert head in DOC.read_text(encoding="utf-8")


@pytest.mark.measures_time
@pytest.mark.parametrize(("call", "group", "cells"), table(), ids=lambda v: str(v)[:50])
async def test_each_row_holds(
    call: str, group: str, cells: dict[str, str], sqlite_url: str, tmp_path: Path
) -> None:
    async def cell(state: str) -> str:
        database = tmp_path / f"{state}.db"
        shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), database)
        async with world(database) as everything:
            return await PROBES[call](everything, state, group)

    found = await asyncio.gather(*[cell(state) for state in STATES])
    assert dict(zip(STATES, found, strict=True)) == cells
