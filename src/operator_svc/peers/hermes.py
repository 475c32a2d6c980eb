"""Hermes, the registry of models and command line tools.

It has no ``/hermes/resources``, whatever older documents say: what it knows is put together
from its three lists.
"""

from __future__ import annotations

import msgspec

from operator_svc.models import Json
from operator_svc.peers.base import AddHeaders, Peer
from operator_svc.settings import Settings


class Available(msgspec.Struct, frozen=True):
    """The tools that Hermes found on its machine, and the names of its models."""

    binaries: dict[str, bool]
    models: list[str]


class LocalModel(msgspec.Struct, frozen=True):
    """A model on Hermes' disk; ``size_mb`` is in megabytes."""

    name: str
    path: str | None = None
    size_mb: float | None = None
    category: str | None = None
    status: str | None = None
    compatibility: Json = None


class _ModelList(msgspec.Struct):
    models: list[LocalModel]


class Limits(msgspec.Struct, frozen=True):
    """How much Hermes may keep; ``max_mb`` is in megabytes."""

    max_models: int | None = None
    max_mb: float | None = None


class Catalog(msgspec.Struct, frozen=True):
    """Hermes' catalog; ``cli`` and ``remote`` are as it tells them."""

    local: list[LocalModel]
    cli: Json = None
    remote: Json = None
    limits: Limits = Limits()
    timestamp: str | float | None = None


class Hermes:
    """Reads what Hermes has. Raises OperatorError: peer_error, peer_unavailable, peer_timeout."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    async def aclose(self) -> None:
        """Close the connections."""
        await self.peer.aclose()

    async def available(self) -> Available:
        """Tools and names of models."""
        return await self.peer.get("/hermes/available", Available)

    async def models(self) -> list[LocalModel]:
        """All models, with what is known of each."""
        return (await self.peer.get("/hermes/list", _ModelList)).models

    async def catalog(self, max_mb: int | None = None) -> Catalog:
        """Local, command line and remote engines; local ones up to ``max_mb`` megabytes."""
        params = None if max_mb is None else {"max_mb": str(max_mb)}
        return await self.peer.get("/hermes/catalog/summary", Catalog, params=params)


def make_hermes(settings: Settings, *, add_headers: AddHeaders | None = None) -> Hermes:
    """Hermes as ``settings`` describe it."""
    return Hermes(Peer("Hermes", settings.hermes_url, settings.token, add_headers=add_headers))
