"""Health of any module of VX11, asked of the module itself."""

from __future__ import annotations

import time

import msgspec

from operator_svc.models import Json
from operator_svc.peers.base import Peer
from operator_svc.peers.dialect_openai import OpenAiDialect
from operator_svc.peers.transport import vx11_headers
from operator_svc.peers.upstream import upstream_of
from operator_svc.settings import Settings


class ModuleHealth(msgspec.Struct, frozen=True):
    """A module's own health; only ``status`` is common to all modules."""

    status: str
    module: str | None = None
    version: str | None = None


class HealthProbe(msgspec.Struct, frozen=True):
    """A module's health and the time that its answer took, in milliseconds."""

    health: ModuleHealth
    latency_ms: float


class Module:
    """Client of one module. Raises OperatorError: peer_error, peer_unavailable, peer_timeout."""

    def __init__(self, name: str, peer: Peer) -> None:
        self.name = name
        self.peer = peer

    async def aclose(self) -> None:
        """Close the connections."""
        await self.peer.aclose()

    async def health(self, *, within: float | None = None) -> HealthProbe:
        """Ask, for ``within`` seconds at most."""
        started = time.monotonic()
        health = await self._ask(within)
        return HealthProbe(health, round((time.monotonic() - started) * 1000, 1))

    async def _ask(self, within: float | None) -> ModuleHealth:
        # A version that is no text is no reason to call a module ill.
        raw = await self.peer.get("/health", dict[str, Json], within=within, any_status=True)
        status, module, version = raw.get("status"), raw.get("module"), raw.get("version")
        if not isinstance(status, str):
            raise self.peer.wrong("GET /health", "its health has no status")
        return ModuleHealth(
            status,
            module if isinstance(module, str) else None,
            str(version) if isinstance(version, str | int | float) else None,
        )


class ModelServer(Module):
    """A server of OpenAI's protocol, which has no health of its own: its models are read."""

    async def _ask(self, within: float | None) -> ModuleHealth:
        await self.peer.get(OpenAiDialect.models_path, dict[str, Json], within=within)
        return ModuleHealth("ok")


def make_modules(settings: Settings) -> dict[str, Module]:
    """All modules but Operator itself, by their names in the overview."""
    upstream = upstream_of(settings)
    headers = vx11_headers(settings.token)
    switch = Peer("switch", upstream.url, upstream.headers)
    peers = {
        "tentaculo_link": Peer("tentaculo_link", settings.tentaculo_link_url, headers),
        "madre": Peer("madre", settings.madre_url, headers),
        "switch": switch,
        "hermes": Peer("hermes", settings.hermes_url, headers),
        "hormiguero": Peer("hormiguero", settings.hormiguero_url, headers),
        "manifestator": Peer("manifestator", settings.manifestator_url, headers),
        "mcp": Peer("mcp", settings.mcp_url, headers),
        "shub": Peer("shub", settings.shub_url, headers),
        "spawner": Peer("spawner", settings.spawner_url, headers),
    }
    modules = {name: Module(name, peer) for name, peer in peers.items()}
    if settings.switch_dialect == "openai":
        modules["switch"] = ModelServer("switch", switch)
    return modules
