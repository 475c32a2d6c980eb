"""A stand-in for Shub-Niggurath, the audio module."""

from __future__ import annotations

import time

from aiohttp import web

from operator_svc.devpeers.standin import VERSION, Standin, json_response
from operator_svc.protocol import headers


class ShubStandin(Standin):
    """Shub with nothing to do; ``projects`` None answers with a stub, as the real one does."""

    name = "shub"
    open_paths = frozenset({"/health"})

    def __init__(self, token: str = "") -> None:
        super().__init__(token)
        self.projects: list[dict[str, object]] | None = None
        self._started = time.monotonic()

    def unauthorized(self, request: web.Request) -> web.Response | None:
        """403, where the other modules answer 401."""
        if not self.token or request.headers.get(headers.TOKEN) == self.token:
            return None
        return json_response({"detail": "Invalid VX11 token"}, 403)

    def routes(self) -> list[web.RouteDef]:
        """Status, readiness, projects and health."""
        return [
            web.get("/status", self._status),
            web.get("/ready", self._ready),
            web.get("/api/reaper/projects", self._projects),
            web.get("/health", self._health),
        ]

    async def _status(self, _: web.Request) -> web.Response:
        health = {
            "status": "operational",
            "module": "shubniggurath",
            "version": VERSION,
            "dsp_ready": True,
            "fx_ready": True,
            "reaper_ready": False,
            "batch_queue_size": 0,
            "uptime_seconds": round(time.monotonic() - self._started, 1),
        }
        return json_response(
            {
                "health": health,
                "batch_jobs_active": 0,
                "batch_jobs_completed": 0,
                "batch_jobs_failed": 0,
                "memory_usage_mb": 0.0,
                "last_analysis": None,
                "next_maintenance": None,
            }
        )

    async def _ready(self, _: web.Request) -> web.Response:
        return json_response({"ready": True, "dsp_ready": True, "vx11_bridge_ready": True})

    async def _projects(self, _: web.Request) -> web.Response:
        if self.projects is None:
            return json_response({"status": "stub", "message": "[stand-in]", "projects": []})
        return json_response({"status": "ok", "projects": self.projects})

    async def _health(self, _: web.Request) -> web.Response:
        return json_response({"status": "ok", "module": "shubniggurath", "version": VERSION})
