"""Dashboard of Shub; null stands for what it does not report."""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

from operator_svc.models import Json
from operator_svc.peers.shub import DspHealth, ShubReadiness, ShubStatus
from operator_svc.protocol.system import (
    Dashboard,
    ShubJobs,
    ShubParts,
    ShubResources,
    SourceView,
)
from operator_svc.services.system.source_calls import call_source

WITHIN = 2.5
"""Seconds for each of the three calls, which are made at once."""
OPERATIONAL = frozenset({"operational", "ok", "healthy"})


class ShubPeer(Protocol):
    """Shub, as far as the dashboard needs it."""

    async def status(self) -> ShubStatus:
        """Health, jobs and memory."""

    async def ready(self) -> ShubReadiness:
        """The state of its parts."""

    async def projects(self) -> list[Json] | None:
        """Reaper's projects; None where Shub does not know them."""


async def read(shub: ShubPeer) -> Dashboard:
    """Ask Shub for all at once. Raises nothing but cancellation."""
    status, ready, projects = await asyncio.gather(
        call_source(shub.status(), WITHIN),
        call_source(shub.ready(), WITHIN),
        call_source(shub.projects(), WITHIN),
    )
    sources = {"status": status.source, "ready": ready.source, "projects": projects.source}
    said = status.value
    health = said.health if said else None
    return Dashboard(
        status=_verdict(sources, health, ready.value),
        shub_health=health.status if health else None,
        version=health.version if health else None,
        uptime_seconds=health.uptime_seconds if health else None,
        active_sessions=None,  # Shub counts jobs, and knows nothing of sessions
        projects=projects.value,
        resources=ShubResources(None, said.memory_usage_mb if said else None),
        parts=_parts(health, ready.value),
        jobs=ShubJobs(
            active=said.batch_jobs_active if said else None,
            completed=said.batch_jobs_completed if said else None,
            failed=said.batch_jobs_failed if said else None,
            queued=health.batch_queue_size if health else None,
        ),
        error=_reason(sources, health, ready.value),
        sources=sources,
    )


def _verdict(
    sources: dict[str, SourceView], health: DspHealth | None, ready: ShubReadiness | None
) -> Literal["ok", "degraded", "unavailable"]:
    if all(source.status != "ok" for source in sources.values()):
        return "unavailable"
    return "degraded" if _reason(sources, health, ready) else "ok"


def _reason(
    sources: dict[str, SourceView], health: DspHealth | None, ready: ShubReadiness | None
) -> str | None:
    """The first reason why Shub is not ok; None where it is."""
    for name, source in sources.items():
        if source.status != "ok":
            return source.detail if name == "status" else f"{name}: {source.detail}"
    if health is not None and health.status.lower() not in OPERATIONAL:
        return "Shub is not operational"
    if ready is not None and not ready.ready:
        return "Shub is not ready"
    return None


def _parts(health: DspHealth | None, ready: ShubReadiness | None) -> ShubParts:
    dsp = ready.dsp_ready if ready and ready.dsp_ready is not None else None
    return ShubParts(
        ready=ready.ready if ready else None,
        dsp_ready=dsp if dsp is not None else health.dsp_ready if health else None,
        fx_ready=health.fx_ready if health else None,
        reaper_ready=health.reaper_ready if health else None,
        vx11_bridge_ready=ready.vx11_bridge_ready if ready else None,
    )
