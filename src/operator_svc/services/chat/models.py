"""Models that a chat may ask for by name."""

from __future__ import annotations

import time
from typing import Protocol

import structlog

from operator_svc.background import TaskOwner
from operator_svc.errors import OperatorError
from operator_svc.peers.switch import ModelsAvailable
from operator_svc.services.ttl_cache import TtlCache

log = structlog.get_logger(__name__)

TTL = 10.0
"""Seconds that the list is kept."""


class ModelPeer(Protocol):
    """Switch, as far as its models are needed."""

    async def models_available(self) -> ModelsAvailable:
        """The models that Switch can use."""


class Models:
    """The upstream's models by name, with the time (in seconds) when each was first seen.

    While the upstream is away the last known list stands.
    """

    def __init__(self, switch: ModelPeer, tasks: TaskOwner) -> None:
        self._switch = switch
        self._known: dict[str, int] = {}
        self._cache: TtlCache[dict[str, int]] = TtlCache(self._ask, tasks, ttl=TTL)
        self.started = int(time.time())

    async def known(self) -> dict[str, int]:
        """The models; empty only where the upstream has not been reached yet, or has none."""
        return (await self._cache.get()).value

    async def _ask(self) -> dict[str, int]:
        try:
            listed = await self._switch.models_available()
        except OperatorError as error:
            log.info("models not read", error=str(error.code))
            return self._known
        now = int(time.time())
        self._known = {
            model.name: self._known.get(model.name, now) for model in listed.models if model.name
        }
        return self._known
