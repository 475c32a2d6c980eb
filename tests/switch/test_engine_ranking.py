"""Engines ranked by feedback: the score, the recommendation, the plan and the time it takes."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec
import pytest

from operator_svc.db import Database
from operator_svc.db.queries import load, resource_folder
from operator_svc.protocol.switch import AdjustmentBody, EngineView, FeedbackBody
from operator_svc.services.switch.engine_ranking import ENGINES, WINDOWS, recommend, score
from operator_svc.stores.feedback_hours import FeedbackHourStore
from operator_svc.stores.switch_feedback import FeedbackStore
from tests.fakes.records import ANYBODY, FakeSwitch, Pod
from tests.fakes.switch_faults import unreachable

DAY = 86_400


async def give(pod: Pod, engine: str, latency_ms: float, *, success: bool = True) -> None:
    body = FeedbackBody(engine=engine, success=success, latency_ms=latency_ms, tokens_used=5)
    await pod.feedback.record(ANYBODY, body)


async def ranking(pod: Pod, window: int = DAY) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins((await pod.rankings.get(window)).value)
    return shown


async def test_without_feedback_there_is_nothing_to_recommend(pod: Pod, switch: FakeSwitch) -> None:
    assert await ranking(pod) == {
        "engines": [], "recommend": None, "recommend_error": None, "window": DAY,
    }  # fmt: skip
    assert switch.calls == []


async def test_best_listed_engine_is_recommended_until_it_is_the_default(
    pod: Pod, switch: FakeSwitch
) -> None:
    for n in range(20):
        await give(pod, "small", 4000 + n, success=n % 2 == 0)
        await give(pod, "large", 10 + n)
        await give(pod, "not-listed", 1)
    shown = await ranking(pod)
    assert [engine["engine"] for engine in shown["engines"]] == ["not-listed", "large", "small"]
    large = shown["engines"][1]
    assert large == {
        "engine": "large", "calls": 20, "success_rate": 1.0, "latency_p50_ms": 19.5,
        "latency_p95_ms": pytest.approx(28.1, abs=0.11), "tokens": 100,
        "score": score(20, 20, 19.5, 28.05),
    }  # fmt: skip
    assert shown["engines"][2]["success_rate"] == 0.5
    body = msgspec.convert(shown["recommend"], AdjustmentBody)
    assert body.after_config == {"default_model": "large"}, "not-listed is no model of Switch"
    assert body.before_config == {"default_model": "small"}
    row = await pod.adjustments.record(ANYBODY, body)
    await pod.adjustments.apply(ANYBODY, row.id)
    assert switch.active == "large"
    pod.rankings.forget()
    assert (await ranking(pod))["recommend"] is None, "it is so already"


async def test_ranking_without_switch_recommends_nothing_and_says_why(
    pod: Pod, switch: FakeSwitch
) -> None:
    await give(pod, "large", 10)
    switch.faults["models_available"] = [unreachable]
    shown = await ranking(pod)
    assert [engine["engine"] for engine in shown["engines"]] == ["large"]
    assert shown["recommend"] is None
    assert shown["recommend_error"]["error"] == "switch_unavailable"


async def test_ranking_is_computed_once_for_all_and_anew_after_feedback(
    pod: Pod, switch: FakeSwitch
) -> None:
    await give(pod, "large", 10)
    answers = await asyncio.gather(*[pod.rankings.get(DAY) for _ in range(50)])
    assert len({id(fresh.value) for fresh in answers}) == 1
    assert switch.calls == [("models_available",)]
    await give(pod, "large", 30)
    assert (await ranking(pod))["engines"][0]["calls"] == 2


async def test_kept_rankings_of_many_windows_are_bounded(pod: Pod) -> None:
    await give(pod, "large", 10)
    for window in range(1, 3 * WINDOWS):
        assert (await ranking(pod, window))["window"] == window
    assert len(pod.rankings._rankings) == WINDOWS


def engine(name: str, successes: int, calls: int, latency: float | None) -> EngineView:
    return EngineView(
        engine=name, calls=calls, success_rate=successes / calls, latency_p50_ms=latency,
        latency_p95_ms=latency, tokens=0, score=score(successes, calls, latency, latency),
    )  # fmt: skip


def test_score_grows_with_certainty_and_speed() -> None:
    assert score(0, 10, None, None) == 0.0
    assert score(1, 1, 0, 0) == pytest.approx(1 / (1 + 1.96**2), abs=1e-4)
    assert score(10**6, 10**6, 0, 0) == pytest.approx(1.0, abs=1e-3)
    assert score(10**6, 10**6, 5000, 5000) == pytest.approx(0.5, abs=1e-3)
    assert score(10**6, 10**6, 0, 10_000) == pytest.approx(0.5, abs=1e-3)
    assert score(2, 2, 10, 10) < score(20, 20, 10, 10) < score(200, 200, 10, 10)
    assert score(150, 200, 10, 10) < score(190, 200, 10, 10)
    assert score(200, 200, 10, 9000) < score(200, 200, 10, 10)
    rate, n, z = 0.9, 50, 1.96
    wilson = (
        rate + z * z / (2 * n) - z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    ) / (1 + z * z / n)
    assert score(45, 50, 1000, 3000) == pytest.approx(wilson * 5000 / 7000, abs=1e-4)


@pytest.mark.parametrize(
    ("known", "active", "model"),
    [
        ([("large", 9, 9, 10.0)], "small", "large"),
        ([("large", 9, 9, 10.0)], None, "large"),
        ([("large", 9, 9, 10.0)], "large", None),
        ([("elsewhere", 9, 9, 10.0)], "small", None),
        ([("large", 0, 9, None)], "small", None),
        ([("large", 9, 9, 10.0), ("small", 8, 9, 10.0)], "small", "large"),
        ([("small", 9, 9, 10.0), ("large", 8, 9, 10.0)], "small", None),
        ([("large", 9, 9, 10.0), ("small", 9, 9, 10.0)], "small", None),
    ],
)
async def test_recommendation_names_a_better_listed_model_only(
    known: list[tuple[str, int, int, float | None]], active: str | None, model: str | None
) -> None:
    switch = FakeSwitch()
    switch.active = active
    found = recommend([engine(*one) for one in known], await switch.models_available())
    if model is None:
        assert found is None
    else:
        assert found is not None
        assert found.after_config == {"default_model": model}
        shown = msgspec.to_builtins(found)
        assert ("before_config" in shown) == (active is not None)


FILL = {
    "postgresql": """
        INSERT INTO operator_switch_feedback
            (engine, success, latency_ms, tokens_used, posted, created_at, forwarded_at)
        SELECT
            'engine-' || (i % 12), i % 20 <> 0, (i::bigint * 7919) % 3011, i % 1000, FALSE,
            now() - (i % 86000) * interval '1 second', now()
        FROM generate_series(1, 50000) AS i
    """,
    "sqlite": """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
        INSERT INTO operator_switch_feedback (engine, success, latency_ms, tokens_used, posted,
            not_before, created_at, forwarded_at)
        SELECT
            'engine-' || (i % 12), i % 20 <> 0, (i * 7919) % 3011, i % 1000, 0, now(),
            now(-(i % 86000)), now()
        FROM n
    """,
}


async def test_ranking_of_many_rows_reads_hours_and_one_hour_of_rows(database: Database) -> None:
    """The time that a million rows take stands in docs/performance.md."""
    store = FeedbackHourStore(database)
    async with database.transaction() as tx:
        await tx.execute(FILL[database.dialect])
    while await store.count(25_000):
        pass
    query = load(resource_folder("sql"), database.dialect)["feedback_engines"]
    sql = query.statements[0].sql
    async with database.transaction() as tx:
        if database.dialect == "postgresql":
            await tx.execute("ANALYZE")
            await tx.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            await tx.execute(f"PREPARE ranking (double precision, bigint) AS {sql}")
            rows = await tx.fetch("EXPLAIN EXECUTE ranking (86400, 200)")
            await tx.execute("DEALLOCATE ranking")
        else:
            rows = await tx.fetch(f"EXPLAIN QUERY PLAN {sql}", seconds=1.0, page=1)
    plan = "\n".join(str(row[-1]) for row in rows)
    assert "operator_switch_feedback_window" in plan
    for scan in ("Seq Scan on operator_switch_feedback", "SCAN f\n", "SCAN f USING"):
        assert scan not in plan
    found = await store.engines(DAY, ENGINES)
    assert len(found) == 12
    assert sum(stats.calls for stats in found) == 50_000


FILL_OUTBOX = {
    "postgresql": """
        INSERT INTO operator_switch_feedback
            (engine, success, latency_ms, tokens_used, forwarded_at)
        SELECT 'e' || (i % 3), TRUE, 1, 1, CASE WHEN i < 40000 THEN now() END
        FROM generate_series(1, 50000) AS i
    """,
    "sqlite": """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
        INSERT INTO operator_switch_feedback
            (engine, success, latency_ms, tokens_used, not_before, created_at, forwarded_at)
        SELECT 'e' || (i % 3), 1, 1, 1, now(), now(), CASE WHEN i < 40000 THEN now() END FROM n
    """,
}


async def test_outbox_is_read_by_its_index(database: Database) -> None:
    """However much has been forwarded, and however much of one engine waits."""
    async with database.transaction() as tx:
        await tx.execute(FILL_OUTBOX[database.dialect])
        if database.dialect == "postgresql":
            await tx.execute("ANALYZE")
        explain = "EXPLAIN" if database.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
        for name in ("feedback_heads", "feedback_release_orphaned"):
            sql = load(resource_folder("sql"), database.dialect)[name].statements[0].sql
            sql = sql.replace("$1", "'pod'").replace(":pod_id", "'pod'")
            lines = [str(row[-1]) for row in await tx.fetch(f"{explain} {sql}")]
            plan = "\n".join(lines)
            assert "operator_switch_feedback_outbox" in plan
            assert "Seq Scan on operator_switch_feedback" not in plan
            scans = ("SCAN f", "SCAN operator_switch_feedback")
            assert not [line for line in lines if line in scans], plan
    assert len(await FeedbackStore(database).heads("pod")) == 3


def test_score_without_a_known_latency_is_that_of_half_speed() -> None:
    assert score(10, 10, None, None) == score(10, 10, 5000, 5000) > 0
    assert score(0, 10, None, None) == 0
