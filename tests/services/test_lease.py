"""The lease of a process: renewed, lost, and begun anew under another id."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from operator_svc.background import TaskOwner
from operator_svc.db import Database
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Backend, Pod
from operator_svc.services.lease import Lease
from operator_svc.stores.pods import PodStore
from tests.fakes.eventually import eventually

AT_ONCE = 10.0
"""Seconds; a third of the lease is twice as long."""


class FlakyPods(PodStore):
    """A store whose database is away while ``away`` is set."""

    away = False

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.attempted: list[float] = []

    async def register(self, pod_id: str, ttl: float, backend: Backend | None = None) -> Pod:
        self._check()
        return await super().register(pod_id, ttl, backend)

    async def renew(self, pod_id: str, ttl: float, backend: Backend | None = None) -> bool:
        self._check()
        return await super().renew(pod_id, ttl, backend)

    def _check(self) -> None:
        self.attempted.append(time.monotonic())
        if self.away:
            raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "it is away")


async def pods_of(database: Database) -> list[str]:
    async with database.transaction() as tx:
        return [row[0] for row in await tx.fetch("SELECT pod_id FROM operator_pod")]


def lost() -> float:
    return REGISTRY.get_sample_value("operator_leases_lost_total") or 0.0


async def test_a_renewed_lease_keeps_its_id(database: Database) -> None:
    lease = Lease(PodStore(database), ttl=30, shared=True)
    await lease.begin()
    pod_id = lease.pod_id
    for _ in range(3):
        await lease.renew()
    assert lease.pod_id == pod_id
    assert await pods_of(database) == [pod_id]
    await lease.release()
    assert await pods_of(database) == []


async def test_a_lost_lease_begins_anew_under_another_id(database: Database) -> None:
    pods = PodStore(database)
    lease = Lease(pods, ttl=30, shared=True)
    ids: list[str] = []
    lease.on_loss(lambda: ids.append(lease.pod_id))
    await lease.begin()
    first, before = lease.pod_id, lost()
    await pods.remove(first)
    await lease.renew()
    assert lease.pod_id != first
    assert ids == [lease.pod_id], "who hears of the loss finds the new id"
    assert await pods_of(database) == [lease.pod_id]
    assert lost() == before + 1
    await lease.renew()
    assert ids == [lease.pod_id]


@pytest.mark.parametrize("shared", [True, False])
async def test_an_outage_beyond_the_ttl_loses_a_shared_lease_once(
    database: Database, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = FlakyPods(database)
    lease = Lease(pods, ttl=30, shared=shared)
    losses: list[None] = []
    lease.on_loss(lambda: losses.append(None))
    await lease.begin()
    first, before = lease.pod_id, lost()
    pods.away = True
    with pytest.raises(OperatorError):
        await lease.renew()
    assert lease.pod_id == first, "the lease still holds"
    later = time.monotonic() + 31
    clock = SimpleNamespace(monotonic=lambda: later)
    monkeypatch.setattr("operator_svc.services.lease.time", clock)
    for _ in range(2):
        with pytest.raises(OperatorError):
            await lease.renew()
    assert (lease.pod_id != first) == bool(losses) == shared
    assert lost() == before + shared
    pods.away = False
    await lease.renew()
    assert lease.pod_id in await pods_of(database)


async def test_a_renewal_that_fails_is_tried_again_at_once(database: Database) -> None:
    pods = FlakyPods(database)
    lease = Lease(pods, ttl=60, shared=True)
    await lease.begin()
    pods.away = True
    async with TaskOwner("test") as tasks:
        tasks.start(lease.keep(), "lease")
        await eventually(lambda: len(pods.attempted) >= 4)
        second, third = pods.attempted[2:4]
        assert third - second < AT_ONCE
        pods.away = False
        before = len(pods.attempted)
        await eventually(lambda: len(pods.attempted) > before, AT_ONCE)
    assert lease.pod_id in await pods_of(database)


async def test_others_are_judged_only_by_a_lease_held_for_a_whole_ttl(database: Database) -> None:
    shared = Lease(PodStore(database), ttl=0.5, shared=True)
    assert not shared.may_judge_others
    await shared.begin()
    assert not shared.may_judge_others

    async def judges() -> bool:
        await shared.renew()
        return shared.may_judge_others

    await eventually(judges, every=0.1)


async def test_a_lone_process_judges_others_from_its_start(sqlite_url: str) -> None:
    from operator_svc.db import migrations
    from operator_svc.settings import Settings

    database = await migrations.connect_up_to_date(Settings(database_url=sqlite_url))
    try:
        lease = Lease(PodStore(database), ttl=30, shared=False)
        await lease.begin()
        assert lease.may_judge_others
    finally:
        await database.aclose()
