"""Stand-ins for the modules of VX11, for machines without them.

Every answer names its stand-in. On request (``POST /standin/mode``) they misbehave as the real
modules do; ``GET /standin/stats`` counts calls.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from operator_svc.background import AsyncCloseable
from operator_svc.devpeers.hermes import HermesStandin
from operator_svc.devpeers.script import Script
from operator_svc.devpeers.shub import ShubStandin
from operator_svc.devpeers.standin import Calls, Standin
from operator_svc.devpeers.switch import SwitchStandin
from operator_svc.devpeers.tentaculo_link import TentaculoLinkStandin

__all__ = [
    "Calls",
    "DevPeers",
    "HermesStandin",
    "Script",
    "ShubStandin",
    "Standin",
    "SwitchStandin",
    "TentaculoLinkStandin",
    "start",
]


class DevPeers(AsyncCloseable):
    """The running stand-ins; ``environment`` is what a service needs to find them."""

    def __init__(
        self,
        switch: SwitchStandin,
        hermes: HermesStandin,
        shub: ShubStandin,
        tentaculo_link: TentaculoLinkStandin,
        stack: AsyncExitStack,
    ) -> None:
        self.switch = switch
        self.hermes = hermes
        self.shub = shub
        self.tentaculo_link = tentaculo_link
        self._stack = stack

    @property
    def environment(self) -> dict[str, str]:
        """Addresses by the names of their settings."""
        return {
            "SWITCH_URL": self.switch.url,
            "HERMES_URL": self.hermes.url,
            "SHUB_URL": self.shub.url,
            "TENTACULO_LINK_URL": self.tentaculo_link.url,
        }

    async def aclose(self) -> None:
        """Stop all of them."""
        await self._stack.aclose()


async def start(
    token: str = "",
    *,
    host: str = "127.0.0.1",
    switch_port: int = 0,
    hermes_port: int = 0,
    shub_port: int = 0,
    tentaculo_link_port: int = 0,
    operator_url: str = "",
    script: Script | None = None,
) -> DevPeers:
    """Start all stand-ins; port 0 takes a free one.

    With ``operator_url`` the gateway's stand-in asks Operator for its health, as the real one
    does. Raises OSError, with all stopped again, where a port is taken.
    """
    switch, hermes, shub = SwitchStandin(token, script), HermesStandin(token), ShubStandin(token)
    gateway = TentaculoLinkStandin(token)
    async with AsyncExitStack() as stack:
        listening: list[tuple[Standin, int]] = [
            (switch, switch_port),
            (hermes, hermes_port),
            (shub, shub_port),
            (gateway, tentaculo_link_port),
        ]
        for standin, port in listening:
            stack.push_async_callback(standin.aclose)
            await standin.start(host, port)
        gateway.modules = {"switch": switch.url, "hermes": hermes.url, "shub": shub.url}
        if operator_url:
            gateway.modules["operator-backend"] = operator_url
        return DevPeers(switch, hermes, shub, gateway, stack.pop_all())
