"""Overview of all modules of VX11, as the gateway finds them, or else by asking each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Protocol

import structlog
from msgspec import UNSET, UnsetType

from operator_svc import __version__
from operator_svc.errors import OperatorError
from operator_svc.models import Json
from operator_svc.peers.gateway import SystemStatus
from operator_svc.peers.modules import HealthProbe
from operator_svc.protocol.system import ModuleStatus, ModuleView, Overview
from operator_svc.services.system.source_calls import SourceResult, call_source

log = structlog.get_logger(__name__)

GATEWAY = "tentaculo_link"
OPERATOR = "operator"
NAMES = (
    GATEWAY, "madre", "switch", "hermes", "hormiguero", "manifestator", "mcp", "shub", "spawner",
    OPERATOR,
)  # fmt: skip
"""The modules of every overview, whichever source (the published contract, overview)."""
ALIASES = {"shubniggurath": "shub", "tentaculo-link": GATEWAY}
"""Other names by which the gateway may call a module. Its ``operator-backend`` is this service,
which measures itself and does not take the gateway's word for it."""

GATEWAY_WITHIN = 1.1
MODULE_WITHIN = 1.2
PING_WITHIN = 1.2
"""Seconds. The gateway's and a module's, one after the other, leave room below 3 s."""

WELL = frozenset({"ok", "healthy", "operational", "up", "ready"})
MAX_VERSION = 64


class GatewayPeer(Protocol):
    """Tentáculo Link, as far as the overview needs it."""

    async def system_status(self, *, within: float | None = None) -> SystemStatus:
        """All modules as the gateway finds them."""


class HealthPeer(Protocol):
    """A module that can be asked how it is."""

    async def health(self, *, within: float | None = None) -> HealthProbe:
        """The health that it reports."""


class PingableDatabase(Protocol):
    """The database, as far as the overview needs it."""

    async def ping(self) -> None:
        """Check that the database answers."""


class OverviewReader:
    """Reads the status of the whole system; ``modules`` are all but Operator, by name."""

    def __init__(
        self, gateway: GatewayPeer, modules: Mapping[str, HealthPeer], database: PingableDatabase
    ) -> None:
        self._gateway = gateway
        self._modules = modules
        self._database = database

    async def read(self) -> Overview:
        """The status of all modules. Raises nothing but cancellation."""
        own, (source, found) = await asyncio.gather(self._own(), self._others())
        modules = {name: found.get(name) or _unknown() for name in NAMES}
        modules[OPERATOR] = own
        healthy = sum(module.status == "ok" for module in modules.values())
        others_healthy = healthy - (own.status == "ok")
        return Overview(
            status="ok" if healthy == len(modules) else "degraded" if others_healthy else "down",
            healthy_modules=healthy,
            total_modules=len(modules),
            modules=modules,
            source="tentaculo_link" if source == GATEWAY else "direct",
        )

    async def _own(self) -> ModuleView:
        """The status of Operator itself, which is that of its database."""
        begun = time.monotonic()
        error: str | None = None
        status: ModuleStatus = "ok"
        try:
            async with asyncio.timeout(PING_WITHIN):
                await self._database.ping()
        except OperatorError as failure:
            status, error = "error", failure.detail
        except TimeoutError:
            status, error = "timeout", f"the database did not answer within {PING_WITHIN:g} s"
        return ModuleView(
            status=status,
            latency_ms=_ms(begun),
            checked_at=datetime.now(UTC),
            version=__version__,
            error=error if error is not None else UNSET,
        )

    async def _others(self) -> tuple[str, dict[str, ModuleView]]:
        begun = time.monotonic()
        answer = await call_source(
            self._gateway.system_status(within=GATEWAY_WITHIN), GATEWAY_WITHIN
        )
        if answer.value is not None:
            found = _as_gateway_says(answer.value)
            if found:
                found[GATEWAY] = ModuleView(
                    status="ok",
                    latency_ms=_ms(begun),
                    checked_at=datetime.now(UTC),
                    version=_version(answer.value.version),
                )
                # The real gateway has no client for some modules.
                return GATEWAY, found | await self._ask_each(self._modules.keys() - found.keys())
            log.warning("the gateway names no known module", names=len(answer.value.modules))
        return "direct", await self._ask_each(self._modules.keys())

    async def _ask_each(self, names: Collection[str]) -> dict[str, ModuleView]:
        """Ask these modules themselves, all at once."""
        answers = [self._ask(name, self._modules[name]) for name in names]
        return dict(zip(names, await asyncio.gather(*answers), strict=True))

    async def _ask(self, name: str, module: HealthPeer) -> ModuleView:
        begun = time.monotonic()
        answer: SourceResult[HealthProbe] = await call_source(
            module.health(within=MODULE_WITHIN), MODULE_WITHIN
        )
        now = datetime.now(UTC)
        if answer.value is None:
            source = answer.source
            asked = source.status != "circuit_open"
            return ModuleView(
                status=source.status,
                latency_ms=_ms(begun) if asked else None,
                checked_at=now,
                error=source.detail or UNSET,
            )
        health = answer.value.health
        status, error = _judged(health.status)
        return ModuleView(
            status=status,
            latency_ms=answer.value.latency_ms,
            checked_at=now,
            version=_version(health.version),
            error=error or UNSET,
        )


def _as_gateway_says(status: SystemStatus) -> dict[str, ModuleView]:
    """The modules that the gateway names, by our names; without Operator and itself."""
    now = datetime.now(UTC)
    found: dict[str, ModuleView] = {}
    for given, body in status.modules.items():
        name = ALIASES.get(given, given)
        if name in NAMES and name not in (OPERATOR, GATEWAY):
            verdict, error = _judged(body.get("status"), str(body.get("error", "")))
            found[name] = ModuleView(
                status=verdict,
                latency_ms=None,
                checked_at=now,
                version=_version(body.get("version")),
                error=error or UNSET,
            )
    return found


def _judged(status: Json, said: str = "") -> tuple[ModuleStatus, str]:
    """The status that a module or the gateway reports, and the reason where it is not ok."""
    if not isinstance(status, str):
        return "unknown", "it does not say how it is"
    word = status.lower()
    if word in WELL:
        return "ok", ""
    if word == "circuit_open":
        return "circuit_open", "the gateway leaves it alone for a moment"
    if word == "error" and said:
        late = "timeout" in said.lower() or "timed out" in said.lower()
        log.debug("the gateway says of a module", said=said[:500])
        return "timeout" if late else "error", "the gateway cannot reach it"
    return "error", f"it says that it is {word[:32]!r}" if word.isalnum() else "it is not well"


def _unknown() -> ModuleView:
    error = "the source does not name it"
    return ModuleView(status="unknown", latency_ms=None, checked_at=datetime.now(UTC), error=error)


def _version(version: Json) -> str | UnsetType:
    return str(version)[:MAX_VERSION] if isinstance(version, str | int | float) else UNSET


def _ms(begun: float) -> float:
    return round((time.monotonic() - begun) * 1000, 1)
