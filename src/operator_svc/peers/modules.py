"""Health of any module of VX11, asked of the module itself."""

from __future__ import annotations

import time

import msgspec

from operator_svc.models import Json
from operator_svc.peers.base import Peer
from operator_svc.peers.transport import vx11_headers
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
        # A version that is no text is no reason to call a module ill.
        raw = await self.peer.get("/health", dict[str, Json], within=within, any_status=True)
        latency_ms = round((time.monotonic() - started) * 1000, 1)
        status, module, version = raw.get("status"), raw.get("module"), raw.get("version")
        if not isinstance(status, str):
            raise self.peer.wrong("GET /health", "its health has no status")
        return HealthProbe(
            ModuleHealth(
                status,
                module if isinstance(module, str) else None,
                str(version) if isinstance(version, str | int | float) else None,
            ),
            latency_ms,
        )


def make_modules(settings: Settings) -> dict[str, Module]:
    """All modules but Operator itself, by their names in the overview."""
    urls = {
        "tentaculo_link": settings.tentaculo_link_url,
        "madre": settings.madre_url,
        "switch": settings.switch_url,
        "hermes": settings.hermes_url,
        "hormiguero": settings.hormiguero_url,
        "manifestator": settings.manifestator_url,
        "mcp": settings.mcp_url,
        "shub": settings.shub_url,
        "spawner": settings.spawner_url,
    }
    headers = dict.fromkeys(urls, vx11_headers(settings.token))
    if settings.switch_dialect == "openai":
        headers["switch"] = {}  # VX11's token is for VX11's modules
    return {name: Module(name, Peer(name, url, headers[name])) for name, url in urls.items()}
