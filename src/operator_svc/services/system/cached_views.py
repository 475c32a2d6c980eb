"""The system as it is now: overview, Shub's dashboard and resources, each kept for a moment."""

from __future__ import annotations

from collections.abc import Mapping

from operator_svc.background import TaskOwner
from operator_svc.protocol.system import Dashboard, Overview, Resources
from operator_svc.services.system import model_catalog, shub_dashboard
from operator_svc.services.system.model_catalog import AsksHermes, AsksSwitch
from operator_svc.services.system.overview import Gateway, HasHealth, Overviews, Pinged
from operator_svc.services.system.shub_dashboard import AsksShub
from operator_svc.services.ttl_cache import TTL, TtlCache


class System:
    """Answers always, and within 3 s: what a neighbour does not tell is null, and why is said."""

    def __init__(
        self,
        gateway: Gateway,
        modules: Mapping[str, HasHealth],
        shub: AsksShub,
        hermes: AsksHermes,
        switch: AsksSwitch,
        database: Pinged,
        tasks: TaskOwner,
        *,
        ttl: float = TTL,
    ) -> None:
        self.overview: TtlCache[Overview] = TtlCache(
            Overviews(gateway, modules, database).look, tasks, ttl=ttl
        )
        self.dashboard: TtlCache[Dashboard] = TtlCache(
            lambda: shub_dashboard.look(shub), tasks, ttl=ttl
        )
        self.resources: TtlCache[Resources] = TtlCache(
            lambda: model_catalog.look(hermes, switch), tasks, ttl=ttl
        )
