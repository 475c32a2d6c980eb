"""All neighbours but Switch's chats and the browser: made and closed together."""

from __future__ import annotations

import asyncio

from operator_svc.peers.base import AddHeaders
from operator_svc.peers.gateway import TentaculoLink, make_tentaculo_link
from operator_svc.peers.hermes import Hermes, make_hermes
from operator_svc.peers.modules import Module, make_modules
from operator_svc.peers.shub import Shub, make_shub
from operator_svc.settings import Settings


class Neighbours:
    """The neighbours that are asked how the system is; ``modules`` by the overview's names."""

    def __init__(
        self, gateway: TentaculoLink, modules: dict[str, Module], hermes: Hermes, shub: Shub
    ) -> None:
        self.gateway = gateway
        self.modules = modules
        self.hermes = hermes
        self.shub = shub

    async def aclose(self) -> None:
        """Close all connections."""
        closing = [self.gateway.aclose(), self.hermes.aclose(), self.shub.aclose()]
        await asyncio.gather(*closing, *[module.aclose() for module in self.modules.values()])


def make_neighbours(settings: Settings, *, add_headers: AddHeaders | None = None) -> Neighbours:
    """The neighbours as ``settings`` describe them."""
    return Neighbours(
        make_tentaculo_link(settings, add_headers=add_headers),
        make_modules(settings, add_headers=add_headers),
        make_hermes(settings, add_headers=add_headers),
        make_shub(settings, add_headers=add_headers),
    )
