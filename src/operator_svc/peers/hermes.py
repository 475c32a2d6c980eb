"""Hermes, the registry of models and command line tools.

It has no ``/hermes/resources``, whatever older documents say: its three lists hold what it
knows.
"""

from __future__ import annotations

import msgspec

from operator_svc.models import Json
from operator_svc.peers.base import Peer, PeerClient
from operator_svc.peers.transport import vx11_headers
from operator_svc.settings import Settings


class Available(msgspec.Struct, frozen=True):
    """The tools that Hermes found on its machine, and the names of its models."""

    binaries: dict[str, bool]
    models: list[str]


class HermesModel(msgspec.Struct, frozen=True):
    """A model on Hermes' disk; ``size_mb`` is in megabytes."""

    name: str
    path: str | None = None
    size_mb: float | None = None
    category: str | None = None
    status: str | None = None
    compatibility: Json = None


class _ModelList(msgspec.Struct):
    models: list[HermesModel]


class CatalogLimits(msgspec.Struct, frozen=True):
    """Bounds of Hermes' store; ``max_mb`` is in megabytes."""

    max_models: int | None = None
    max_mb: float | None = None


class Catalog(msgspec.Struct, frozen=True):
    """Hermes' catalog; ``cli`` and ``remote`` as it gives them."""

    local: list[HermesModel]
    cli: Json = None
    remote: Json = None
    limits: CatalogLimits = CatalogLimits()
    timestamp: str | float | None = None


class Hermes(PeerClient):
    """Client of Hermes. Raises OperatorError: peer_error, peer_unavailable, peer_timeout."""

    async def available(self) -> Available:
        """Tools and names of models."""
        return await self.peer.get("/hermes/available", Available)

    async def models(self) -> list[HermesModel]:
        """All models with their properties."""
        return (await self.peer.get("/hermes/list", _ModelList)).models

    async def catalog(self, max_mb: int | None = None) -> Catalog:
        """Local, command line and remote engines; local ones up to ``max_mb`` megabytes."""
        params = None if max_mb is None else {"max_mb": str(max_mb)}
        return await self.peer.get("/hermes/catalog/summary", Catalog, params=params)


def make_hermes(settings: Settings) -> Hermes:
    """Hermes at the address of ``settings``."""
    return Hermes(Peer("Hermes", settings.hermes_url, vx11_headers(settings.token)))
