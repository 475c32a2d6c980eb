"""Views of the present system: overview, Shub's dashboard and resources, each kept for a moment."""

from __future__ import annotations

from operator_svc.background import TaskOwner
from operator_svc.peers.system_peers import SystemPeers
from operator_svc.protocol.system import Dashboard, Overview, Resources
from operator_svc.services.system import model_catalog, shub_dashboard
from operator_svc.services.system.model_catalog import SwitchPeer
from operator_svc.services.system.overview import OverviewReader, PingableDatabase
from operator_svc.services.ttl_cache import TTL, TtlCache


class System:
    """Views that always answer, within 3 s. A value that no peer gave is null, with the reason
    beside it."""

    def __init__(
        self,
        peers: SystemPeers,
        switch: SwitchPeer,
        database: PingableDatabase,
        tasks: TaskOwner,
        *,
        ttl: float = TTL,
    ) -> None:
        overview = OverviewReader(peers.gateway, peers.modules, database)
        self.overview: TtlCache[Overview] = TtlCache(overview.read, tasks, ttl=ttl)
        self.dashboard: TtlCache[Dashboard] = TtlCache(
            lambda: shub_dashboard.read(peers.shub), tasks, ttl=ttl
        )
        self.resources: TtlCache[Resources] = TtlCache(
            lambda: model_catalog.read(peers.hermes, switch), tasks, ttl=ttl
        )
