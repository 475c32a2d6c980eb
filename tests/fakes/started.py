"""Processes of the service inside the process of the tests."""

from __future__ import annotations

from operator_svc import lifecycle
from operator_svc.app import Operator
from operator_svc.services.chat.upstream import ChatPeer
from operator_svc.settings import Settings
from tests.fakes.eventually import eventually

BROWSER_AWAY = "http://127.0.0.1:1"
"""The address of a browser service that is away; at the usual one a developer's own may listen."""
LEASE_TTL = 60.0
"""Seconds of a lease. No pause of a busy machine is as long, nor calls that end by a timeout."""


async def started(settings: Settings, *, switch: ChatPeer | None = None) -> Operator:
    """A process that is connected to its bus."""
    operator = await lifecycle.start(settings, switch=switch)
    await eventually(lambda: not operator.core.bus.degraded)
    return operator
