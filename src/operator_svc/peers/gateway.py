"""Tentáculo Link, the gateway: it asks all modules how they are."""

from __future__ import annotations

import msgspec

from operator_svc.models import Json
from operator_svc.peers.base import AddHeaders, Peer
from operator_svc.settings import Settings


class Summary(msgspec.Struct, frozen=True):
    """The gateway's own count."""

    healthy_modules: int | None = None
    total_modules: int | None = None
    all_healthy: bool | None = None


class SystemStatus(msgspec.Struct, frozen=True):
    """How the gateway finds VX11.

    ``modules`` has for each name that module's ``/health`` body, or ``{status: "error", module,
    error}``, or ``{status: "circuit_open", module}``; nothing in it is sure to be there.
    """

    modules: dict[str, dict[str, Json]]
    ok: bool | None = None
    status: str | None = None
    module: str | None = None
    version: str | None = None
    timestamp: Json = None
    ports: dict[str, Json] = {}
    summary: Summary = Summary()


class TentaculoLink:
    """Reads the gateway's view. Raises OperatorError: peer_error, _unavailable, _timeout."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    async def aclose(self) -> None:
        """Close the connections."""
        await self.peer.aclose()

    async def system_status(self, *, within: float | None = None) -> SystemStatus:
        """All modules as the gateway finds them; it asks Operator too."""
        return await self.peer.get("/vx11/status", SystemStatus, within=within, any_status=True)


def make_tentaculo_link(
    settings: Settings, *, add_headers: AddHeaders | None = None
) -> TentaculoLink:
    """The gateway as ``settings`` describe it."""
    url = settings.tentaculo_link_url
    return TentaculoLink(Peer("Tentáculo Link", url, settings.token, add_headers=add_headers))
