"""A stand-in for Hermes. As with the real one, ``/hermes/resources`` does not exist."""

from __future__ import annotations

import time

from aiohttp import web

from operator_svc.devpeers.standin import VERSION, Standin, json_response

MODELS = (
    ("standin-small", 100.0, "general"),
    ("standin-medium", 2000.0, "general"),
    ("standin-hermes-only", 700.0, "audio"),
)


class HermesStandin(Standin):
    """Hermes with three models that nobody has, and no tools; each path needs the token."""

    name = "hermes"

    def routes(self) -> list[web.RouteDef]:
        """The three lists, and health."""
        return [
            web.get("/hermes/available", self._available),
            web.get("/hermes/list", self._list),
            web.get("/hermes/catalog/summary", self._catalog),
            web.get("/health", self._health),
        ]

    async def _available(self, _: web.Request) -> web.Response:
        binaries = {"docker": False, "ollama": False, "standin-cli": True}
        models = [name for name, _, _ in MODELS]
        return json_response({"status": "ok", "binaries": binaries, "models": models})

    async def _list(self, _: web.Request) -> web.Response:
        models = [
            {
                "name": name,
                "path": f"/nowhere/{name}.gguf",
                "size_mb": size,
                "category": category,
                "status": "available",
                "compatibility": "cpu",
            }
            for name, size, category in MODELS
        ]
        return json_response({"models": models})

    async def _catalog(self, request: web.Request) -> web.Response:
        raw = request.query.get("max_mb", "2048")
        if not raw.isdecimal():
            return json_response(
                {"detail": [{"loc": ["query", "max_mb"], "msg": "no integer"}]}, 422
            )
        local = [
            {"name": name, "size_mb": size, "category": category, "status": "available"}
            for name, size, category in MODELS
            if size <= int(raw)
        ]
        return json_response(
            {
                "local": local,
                "cli": [{"name": "standin-cli", "available": True}],
                "remote": [],
                "limits": {"max_models": 30, "max_mb": int(raw)},
                "timestamp": time.time(),
            }
        )

    async def _health(self, _: web.Request) -> web.Response:
        return json_response({"status": "ok", "module": "hermes", "version": VERSION})
