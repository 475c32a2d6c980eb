"""The peers that the views of the system ask, made and closed together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from operator_svc.peers.gateway import TentaculoLink, make_tentaculo_link
from operator_svc.peers.hermes import Hermes, make_hermes
from operator_svc.peers.modules import Module, make_modules
from operator_svc.peers.shub import Shub, make_shub
from operator_svc.settings import Settings


@dataclass(frozen=True)
class SystemPeers:
    """Peers of the overview, the dashboard and the resources; ``modules`` by overview name."""

    gateway: TentaculoLink
    modules: dict[str, Module]
    hermes: Hermes
    shub: Shub

    async def aclose(self) -> None:
        """Close all connections."""
        closing = [self.gateway.aclose(), self.hermes.aclose(), self.shub.aclose()]
        await asyncio.gather(*closing, *[module.aclose() for module in self.modules.values()])


def make_system_peers(settings: Settings) -> SystemPeers:
    """The peers at the addresses of ``settings``."""
    return SystemPeers(
        make_tentaculo_link(settings),
        make_modules(settings),
        make_hermes(settings),
        make_shub(settings),
    )
