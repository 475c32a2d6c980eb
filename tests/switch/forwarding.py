"""Short ways to give feedback, and what of it waits or was forwarded."""

from __future__ import annotations

from typing import Any

from operator_svc.protocol.switch import FeedbackAnswer, FeedbackBody
from tests.fakes.records import ANYBODY, FakeSwitch, Pod


async def give(pod: Pod, engine: str, tokens: int = 1, **fields: Any) -> FeedbackAnswer:
    body = FeedbackBody(
        **{"engine": engine, "success": True, "latency_ms": 9.6, "tokens_used": tokens, **fields}
    )
    return await pod.feedback.record(ANYBODY, body)


async def outbox(pod: Pod) -> list[tuple[str, int, int, str]]:
    """The feedback to be forwarded or given up: engine, tokens, attempts, and which."""
    async with pod.database.transaction() as tx:
        rows = await tx.fetch(
            "SELECT engine, tokens_used, attempts,"
            " CASE WHEN given_up_at IS NULL THEN 'waits' ELSE 'given up' END"
            " FROM operator_switch_feedback WHERE forwarded_at IS NULL ORDER BY id"
        )
    return [tuple(row) for row in rows]


async def time_comes(pod: Pod) -> None:
    """All that waits for its next attempt has waited long enough."""
    now = "now()" if pod.database.dialect == "postgresql" else "now(-1)"
    async with pod.database.transaction() as tx:
        await tx.execute(f"UPDATE operator_switch_feedback SET not_before = {now}")


def told(switch: FakeSwitch, engine: str) -> list[int | None]:
    """The tokens of what Switch was told of an engine, in order."""
    return [tokens for name, _, _, tokens in switch.recorded if name == engine]
