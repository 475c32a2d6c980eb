"""A database that was restored to an older state, as clients see it."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing
from pathlib import Path

from structlog.testing import capture_logs

from operator_svc import lifecycle
from operator_svc.app import Operator
from tests.fakes.eventually import eventually
from tests.fakes.pods import Pods, epoch_of, say, watch


async def age(pod: Operator, seconds: float) -> None:
    """Have the database say that it was in use so many seconds ago."""
    seen_at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
    text = seen_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    postgresql = pod.core.database.dialect == "postgresql"
    async with pod.core.database.transaction() as tx:
        await tx.execute(
            "UPDATE operator_history SET seen_at = :at", at=seen_at if postgresql else text
        )


async def stop(pods: Pods, pod: Operator) -> None:
    pods.all.remove(pod)
    await lifecycle.close(pod)


async def test_a_client_that_was_ahead_of_a_restored_file_resyncs(
    sqlite_url: str, tmp_path: Path
) -> None:
    """The log has grown past what the client saw, by other events."""
    file, backup = tmp_path / "operator.db", tmp_path / "backup.db"
    pods = Pods(sqlite_url)
    try:
        pod = await pods.start()
        await say(pods, pod, "kept")
        await age(pod, 70)
        with closing(sqlite3.connect(file)) as beside:
            beside.execute("VACUUM INTO ?", [str(backup)])
        await age(pod, 0)
        await say(pods, pod, "lost")
        epoch = await epoch_of(pod)
        await stop(pods, pod)
        backup.replace(file)

        pod = await pods.start()
        for _ in range(2):
            await say(pods, pod, "others")
        ahead = await watch(pod, "s", after=7, epoch=epoch)
        assert ahead.types() == ["resync"]
        assert ahead.seq == 10
        assert ahead.epoch not in (None, epoch)
    finally:
        await pods.aclose()


async def test_a_restart_keeps_the_epoch_of_each_session(pods: Pods) -> None:
    pod = await pods.start()
    await say(pods, pod, "kept")
    epoch = await epoch_of(pod)
    await age(pod, 50)
    await stop(pods, pod)
    pod = await pods.start()
    again = await watch(pod, "s", after=3, epoch=epoch)
    assert again.types() == ["event", "resumed"]


async def test_a_restore_under_running_pods_cuts_their_clients(pods: Pods) -> None:
    """As a snapshot of the volume that is put back while connections are tried again."""
    pod = await pods.start()
    await say(pods, pod, "kept")
    epoch = await epoch_of(pod)
    reader = await watch(pod, "s", after=4, epoch=epoch)
    await age(pod, 3600)
    with capture_logs() as logs:
        await pod.core.database.check_history()
    told = [line["event"] for line in logs if "database" in line["event"]]
    assert told == ["the database was restored, or its clock jumped"]
    await eventually(lambda: reader.cut_off)
    again = await watch(pod, "s", after=4, epoch=epoch)
    assert again.types() == ["resync"]
