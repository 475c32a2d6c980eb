"""The peers of one process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from operator_svc.peers.browser import Browser, make_browser
from operator_svc.peers.switch import Switch, make_switch
from operator_svc.peers.system_peers import SystemPeers, make_system_peers
from operator_svc.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """The services that Operator calls; ``browser`` is None where none is configured."""

    switch: Switch
    system: SystemPeers
    browser: Browser | None

    async def aclose(self) -> None:
        """Close all connections."""
        closing = [self.switch.aclose(), self.system.aclose()]
        if self.browser is not None:
            closing.append(self.browser.aclose())
        await asyncio.gather(*closing)


def make_peers(settings: Settings) -> Peers:
    """The peers of the settings. Raises ConfigurationError."""
    return Peers(
        switch=make_switch(settings),
        system=make_system_peers(settings),
        browser=make_browser(settings),
    )
