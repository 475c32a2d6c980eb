"""The websocket: who may open one, what it may ask, and how it ends."""

from __future__ import annotations

from aiohttp import web

from operator_svc.ws.endpoint import websocket


def routes(app: web.Application) -> None:
    """Add the websocket to ``app``."""
    app.router.add_get("/ws/{session_id}", websocket)
