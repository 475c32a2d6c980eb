"""Shub-Niggurath, the audio module, as far as the dashboard shows it."""

from __future__ import annotations

import msgspec

from operator_svc.models import Json
from operator_svc.peers.base import AddHeaders, Peer
from operator_svc.settings import Settings


class DspHealth(msgspec.Struct, frozen=True):
    """The health that is part of Shub's status; ``status`` is operational or initializing."""

    status: str
    module: str | None = None
    version: str | None = None
    dsp_ready: bool | None = None
    fx_ready: bool | None = None
    reaper_ready: bool | None = None
    batch_queue_size: int | None = None
    uptime_seconds: float | None = None


class ShubStatus(msgspec.Struct, frozen=True):
    """What Shub does; ``memory_usage_mb`` is in megabytes."""

    health: DspHealth
    batch_jobs_active: int | None = None
    batch_jobs_completed: int | None = None
    batch_jobs_failed: int | None = None
    memory_usage_mb: float | None = None
    last_analysis: Json = None
    next_maintenance: Json = None


class Ready(msgspec.Struct, frozen=True):
    """Whether Shub's parts are up."""

    ready: bool
    dsp_ready: bool | None = None
    vx11_bridge_ready: bool | None = None


class ShubHealth(msgspec.Struct, frozen=True):
    """Shub's own health."""

    status: str
    module: str | None = None
    version: str | None = None


class _Projects(msgspec.Struct):
    projects: list[Json]
    status: str = "ok"


class Shub:
    """Reads what Shub tells. Raises OperatorError: peer_error, peer_unavailable, peer_timeout."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    async def aclose(self) -> None:
        """Close the connections."""
        await self.peer.aclose()

    async def status(self) -> ShubStatus:
        """Health, jobs and memory; PeerRefusedError (403) for a wrong token."""
        return await self.peer.get("/status", ShubStatus)

    async def ready(self) -> Ready:
        """Whether Shub's parts are up."""
        return await self.peer.get("/ready", Ready)

    async def projects(self) -> list[Json] | None:
        """Reaper's projects; None where Shub only pretends to know them."""
        answer = await self.peer.get("/api/reaper/projects", _Projects)
        return None if answer.status == "stub" else answer.projects

    async def health(self) -> ShubHealth:
        """Shub's own health."""
        return await self.peer.get("/health", ShubHealth, any_status=True)


def make_shub(settings: Settings, *, add_headers: AddHeaders | None = None) -> Shub:
    """Shub as ``settings`` describe it."""
    return Shub(Peer("Shub", settings.shub_url, settings.token, add_headers=add_headers))
