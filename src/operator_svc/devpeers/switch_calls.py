"""Calls of the Switch stand-in beside its chat: modes, models, providers, queue, feedback."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import msgspec
from aiohttp import web

from operator_svc.devpeers.standin import VERSION, json_response

MODES = {
    "ECO": {"max_models": 1, "description": "stand-in"},
    "BALANCED": {"max_models": 2, "description": "stand-in"},
    "HIGH-PERF": {"max_models": 4, "description": "stand-in"},
    "CRITICAL": {"max_models": 8, "description": "stand-in"},
}
MODELS = ("standin-small", "standin-medium", "standin-large")


class SwitchCalls:
    """Switch's state, which control calls change and other calls show."""

    def __init__(self) -> None:
        self.mode = "BALANCED"
        self.active = MODELS[0]
        self.warm: str | None = None
        self.recorded: deque[dict[str, Any]] = deque(maxlen=10_000)
        """Bodies of ``record_result`` calls."""
        self.tasks = 0

    def routes(self) -> list[web.RouteDef]:
        """Routes of all calls but the chat."""
        return [
            web.post("/switch/task", self._task),
            web.post("/switch/hermes/record_result", self._record),
            web.get("/switch/queue/status", self._queue),
            web.get("/switch/models/available", self._models),
            web.get("/switch/providers", self._providers),
            web.get("/switch/context", self._context),
            web.post("/switch/control", self._control),
            web.post("/switch/admin/set_default_model", self._set_default),
            web.post("/switch/admin/preload_model", self._preload),
            web.get("/health", self._health),
        ]

    async def _task(self, request: web.Request) -> web.Response:
        body = await _body(request)
        self.tasks += 1
        return json_response(
            {
                "status": "ok",
                "task_type": body.get("task_type"),
                "provider": VERSION,
                "decision": "fallback",
                "result": {"standin": True, "payload": body.get("payload")},
                "latency_ms": 1,
                "queue_id": self.tasks,
                "reasoning": "a stand-in answered",
            }
        )

    async def _record(self, request: web.Request) -> web.Response:
        body = await _body(request)
        engine = body.get("engine")
        if not isinstance(engine, str) or not isinstance(body.get("success"), bool):
            return json_response({"detail": [{"loc": ["body", "engine"], "msg": "missing"}]}, 422)
        self.recorded.append(body)
        return json_response({"status": "ok", "engine": engine, "recorded": True})

    async def _queue(self, _: web.Request) -> web.Response:
        return json_response({"size": 0, "items": []})

    async def _models(self, _: web.Request) -> web.Response:
        models = [
            {"name": name, "category": "general", "size_mb": 100 * place, "status": "available"}
            for place, name in enumerate(MODELS, 1)
        ]
        cli = {
            "name": "standin-cli",
            "bin_path": None,
            "available": False,
            "updated_at": "2025-12-14T10:00:00",
            "cli_type": "stand-in",
        }
        return json_response(
            {"models": models, "active": self.active, "warm": self.warm, "cli_registry": [cli]}
        )

    async def openai_models(self, _: web.Request) -> web.Response:
        """The models, as OpenAI's protocol lists them."""
        data = [{"id": name, "object": "model", "owned_by": VERSION} for name in MODELS]
        return json_response({"object": "list", "data": data})

    async def _providers(self, _: web.Request) -> web.Response:
        local = [{"name": name, "kind": "local", "status": "available"} for name in MODELS]
        cli = {"name": "standin-cli", "kind": "cli", "status": "off", "rate_limit_daily": 0}
        return json_response({"status": "ok", "providers": [*local, cli]})

    async def _context(self, request: web.Request) -> web.Response:
        return json_response(
            {
                "status": "ok",
                "mode": self.mode,
                "active_model": self.active,
                "warm_model": self.warm,
                "queue_size": 0,
                "token_required": True,
            }
        )

    async def _control(self, request: web.Request) -> web.Response:
        body = await _body(request)
        action = body.get("action")
        if action == "set_mode":
            mode = body.get("mode")
            if mode not in MODES:
                return json_response({"status": "error", "detail": f"unknown mode {mode}"})
            self.mode = mode
        elif action == "list_modes":
            return json_response({"status": "ok", "mode": self.mode, "modes": list(MODES)})
        elif action != "get_mode":
            return json_response({"status": "error", "detail": f"unknown action {action}"})
        return json_response({"status": "ok", "mode": self.mode, "profile": MODES[self.mode]})

    async def _set_default(self, request: web.Request) -> web.Response:
        name = (await _body(request)).get("model_name")
        if name not in MODELS:
            return json_response({"detail": "model_not_found"}, 404)
        self.active = name
        return json_response({"status": "ok", "active": self.active, "warm": self.warm})

    async def _preload(self, request: web.Request) -> web.Response:
        name = (await _body(request)).get("model_name")
        if name not in MODELS:
            return json_response({"detail": "model_not_found"}, 404)
        self.warm = name
        return json_response({"status": "ok", "warm": self.warm})

    async def _health(self, _: web.Request) -> web.Response:
        return json_response(
            {
                "status": "ok",
                "module": "switch",
                "version": VERSION,
                "active_model": self.active,
                "warm_model": self.warm,
                "queue_size": 0,
                "time": time.time(),
            }
        )


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await request.read(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        detail = msgspec.json.encode({"detail": [{"loc": ["body"], "msg": str(error)}]})
        raise web.HTTPUnprocessableEntity(body=detail, content_type="application/json") from error
