"""Tentáculo Link, the gateway, which asks all modules for their health."""

from __future__ import annotations

import msgspec

from operator_svc.models import Json
from operator_svc.peers.base import Peer, PeerClient
from operator_svc.peers.transport import vx11_headers
from operator_svc.settings import Settings


class Summary(msgspec.Struct, frozen=True):
    """The gateway's own count."""

    healthy_modules: int | None = None
    total_modules: int | None = None
    all_healthy: bool | None = None


class SystemStatus(msgspec.Struct, frozen=True):
    """Status of VX11 in the gateway's view.

    ``modules`` has by name a module's ``/health`` body, or ``{status: "error", module,
    error}``, or ``{status: "circuit_open", module}``; no field in it is sure to be there.
    """

    modules: dict[str, dict[str, Json]]
    ok: bool | None = None
    status: str | None = None
    module: str | None = None
    version: str | None = None
    timestamp: Json = None
    ports: dict[str, Json] = {}
    summary: Summary = Summary()


class TentaculoLink(PeerClient):
    """Client of the gateway. Raises OperatorError: peer_error, peer_unavailable, peer_timeout."""

    async def system_status(self, *, within: float | None = None) -> SystemStatus:
        """All modules in the gateway's view; it asks Operator too."""
        return await self.peer.get("/vx11/status", SystemStatus, within=within, any_status=True)


def make_tentaculo_link(settings: Settings) -> TentaculoLink:
    """The gateway at the address of ``settings``."""
    headers = vx11_headers(settings.token)
    return TentaculoLink(Peer("Tentáculo Link", settings.tentaculo_link_url, headers))
