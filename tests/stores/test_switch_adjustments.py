"""Adjustments as they are stored: claimed by one process at a time, an event for each outcome."""

from __future__ import annotations

import asyncio

from operator_svc.db import Database
from operator_svc.stores.pods import PodStore
from operator_svc.stores.switch_adjustments import AdjustmentStore
from tests.fakes.records import lease
from tests.stores.record_rows import CONFIG, OTHER, POD, adjustment, chat, moment, record_events


async def test_adjustment_without_a_session_makes_no_event(database: Database) -> None:
    store = AdjustmentStore(database)
    written = await store.record(**adjustment())
    assert written is not None
    assert (written.event.seq, written.row.applied) == (None, False)
    assert await store.get(written.row.id) == written.row


async def test_each_outcome_is_stored_with_an_event_of_the_same_data(database: Database) -> None:
    await chat(database)
    store = AdjustmentStore(database)
    await PodStore(database).register(POD, 10)
    recorded = await store.record(**adjustment(session_id="s-1"))
    assert recorded is not None
    written = [recorded]
    for event, error, applied in (
        ("switch_adjustment.failed", "switch_error: no", False),
        ("switch_adjustment.applied", None, True),
        ("switch_adjustment.failed", "switch_timeout: late", True),
        ("switch_adjustment.reverted", None, False),
        ("switch_adjustment.applied", None, True),
    ):
        claimed = await store.claim(recorded.row.id, POD, applied=written[-1].row.applied)
        assert claimed is not None
        assert await store.finish(claimed, OTHER, event, error) is None
        done = await store.finish(claimed, POD, event, error)
        assert done is not None
        assert await store.get(recorded.row.id) == done.row
        assert (done.row.applied, done.row.error, done.row.owner) == (applied, error, None)
        written.append(done)
    assert written[1].row.applied_at is None
    assert written[2].row.applied_at == written[3].row.applied_at is not None
    assert written[4].row.reverted_at is not None
    assert written[5].row.reverted_at is None, "it is applied again"
    events = await record_events(database)
    assert [(e.seq, e.ts, e.data) for e in events] == [
        (w.event.seq, w.event.ts, w.event.data) for w in written
    ]
    for done in written:
        times = ("applied_at", "reverted_at", "created_at")
        shown = {k: v for k, v in done.event.data.items() if k not in times}
        assert shown == {
            "id": recorded.row.id, "session_id": "s-1", "message_id": None, "reason": "why",
            "applied": done.row.applied, "error": done.row.error, **CONFIG,
        }  # fmt: skip
        for name in times:
            assert moment(done.event.data[name]) == getattr(done.row, name)


async def test_outcome_without_a_session_is_stored_without_an_event(database: Database) -> None:
    store = AdjustmentStore(database)
    recorded = await store.record(**adjustment())
    assert recorded is not None
    claimed = await store.claim(recorded.row.id, POD, applied=False)
    assert claimed is not None
    done = await store.finish(claimed, POD, "switch_adjustment.applied", None)
    assert done is not None
    assert (done.event.seq, done.row.applied_at) == (None, done.event.ts)
    assert await store.get(recorded.row.id) == done.row


async def test_claim_of_another_process_is_refused_until_it_is_orphaned(
    database: Database,
) -> None:
    store, pods = AdjustmentStore(database), PodStore(database)
    recorded = await store.record(**adjustment())
    assert recorded is not None
    adjustment_id = recorded.row.id
    for pod in (POD, OTHER):
        await lease(database, pod, 10)
    assert await store.claim(adjustment_id, POD, applied=True) is None
    claims = await asyncio.gather(
        *[store.claim(adjustment_id, pod, applied=False) for pod in (POD, OTHER)]
    )
    (winner,) = [claimed.owner for claimed in claims if claimed is not None]
    assert winner is not None
    loser = OTHER if winner == POD else POD
    assert [claim.owner for claim in await store.in_progress()] == [winner]
    await store.release(adjustment_id, loser)
    assert await store.claim(adjustment_id, loser, applied=False) is None
    for idle in (None, loser):
        assert await store.release_orphaned(idle) == 0
    await pods.remove(winner)
    assert await store.release_orphaned(None) == 1
    assert await store.in_progress() == []
    assert await store.claim(adjustment_id, loser, applied=False) is not None
    assert await store.release_orphaned(loser) == 1
    assert await store.in_progress() == []
