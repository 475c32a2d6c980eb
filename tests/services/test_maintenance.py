"""Periodic work, of which one job may fail."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from operator_svc.db import Database
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.services.lease import Lease
from operator_svc.services.maintenance import Maintenance
from operator_svc.stores.pods import PodStore


async def test_a_job_that_fails_keeps_no_other_from_running(database: Database) -> None:
    done = []

    async def fail() -> None:
        raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "a table is locked")

    async def work() -> None:
        done.append("work")

    maintenance = Maintenance(
        Lease(PodStore(database), ttl=60.0, shared=False),
        sweeps=(fail, work, fail),
        on_death=(),
        purges=(),
        polls=(),
    )
    with capture_logs() as logs, pytest.raises(OperatorError, match="a table is locked"):
        await maintenance.begin()
    assert done == ["work"]
    assert [entry["event"] for entry in logs] == ["periodic work failed"], "the second failure"
