"""Shub-Niggurath, the audio module, as far as the dashboard shows it."""

from __future__ import annotations

import msgspec

from operator_svc.models import Json
from operator_svc.peers.base import Peer, PeerClient
from operator_svc.peers.transport import vx11_headers
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
    """Shub's jobs and health; ``memory_usage_mb`` is in megabytes."""

    health: DspHealth
    batch_jobs_active: int | None = None
    batch_jobs_completed: int | None = None
    batch_jobs_failed: int | None = None
    memory_usage_mb: float | None = None
    last_analysis: Json = None
    next_maintenance: Json = None


class ShubReadiness(msgspec.Struct, frozen=True):
    """Readiness of Shub and its parts."""

    ready: bool
    dsp_ready: bool | None = None
    vx11_bridge_ready: bool | None = None


class _Projects(msgspec.Struct):
    projects: list[Json]
    status: str = "ok"


class Shub(PeerClient):
    """Client of Shub. Raises OperatorError: peer_error, peer_unavailable, peer_timeout."""

    async def status(self) -> ShubStatus:
        """Health, jobs and memory; PeerRefusedError (403) for a wrong token."""
        return await self.peer.get("/status", ShubStatus)

    async def ready(self) -> ShubReadiness:
        """Readiness of Shub and its parts."""
        return await self.peer.get("/ready", ShubReadiness)

    async def projects(self) -> list[Json] | None:
        """Reaper's projects; None where Shub answers with a stub."""
        answer = await self.peer.get("/api/reaper/projects", _Projects)
        return None if answer.status == "stub" else answer.projects


def make_shub(settings: Settings) -> Shub:
    """Shub at the address of ``settings``."""
    return Shub(Peer("Shub", settings.shub_url, vx11_headers(settings.token)))
