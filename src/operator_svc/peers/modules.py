"""The health of any module of VX11, asked of the module itself."""

from __future__ import annotations

import time

import msgspec

from operator_svc.models import Json
from operator_svc.peers.base import AddHeaders, Peer
from operator_svc.settings import Settings


class Health(msgspec.Struct, frozen=True):
    """What a module says of itself; only ``status`` is common to all."""

    status: str
    module: str | None = None
    version: str | None = None


class Seen(msgspec.Struct, frozen=True):
    """A module's health and how long it took to tell, in milliseconds."""

    health: Health
    latency_ms: float


class Module:
    """One module. Raises OperatorError: CircuitOpenError, peer_error, _unavailable, _timeout."""

    def __init__(self, name: str, peer: Peer) -> None:
        self.name = name
        self.peer = peer

    async def aclose(self) -> None:
        """Close the connections."""
        await self.peer.aclose()

    async def health(self, *, within: float | None = None) -> Seen:
        """Ask, for ``within`` seconds at most."""
        started = time.monotonic()
        # Version is not always text, and is no reason to call a module ill.
        raw = await self.peer.get("/health", dict[str, Json], within=within, any_status=True)
        latency_ms = round((time.monotonic() - started) * 1000, 1)
        status, module, version = raw.get("status"), raw.get("module"), raw.get("version")
        if not isinstance(status, str):
            raise self.peer.wrong("GET /health", "its health has no status")
        return Seen(
            Health(
                status,
                module if isinstance(module, str) else None,
                str(version) if isinstance(version, str | int | float) else None,
            ),
            latency_ms,
        )


def make_modules(settings: Settings, *, add_headers: AddHeaders | None = None) -> dict[str, Module]:
    """All modules but Operator itself, by the names that the overview has for them."""
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
    openai = settings.switch_dialect == "openai"
    tokens = {"switch": ""} if openai else {}  # a server of others has no business with it
    return {
        name: Module(
            name,
            Peer(name, url, tokens.get(name, settings.token), add_headers=add_headers),
        )
        for name, url in urls.items()
    }
