"""The plans by which PostgreSQL answers queries."""

from __future__ import annotations

import json
from typing import Any

from operator_svc.db import Database
from operator_svc.db.queries import load, resource_folder


def rows_read(plan: Any) -> int:
    """The most rows that one node of a plan of PostgreSQL gave or threw away."""
    own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return max([int(own), *(rows_read(child) for child in plan.get("Plans", ()))])


def literal(value: Any) -> str:
    if isinstance(value, list):
        return "ARRAY[" + ", ".join(map(literal, value)) + "]"
    if value is None:
        return "NULL"
    return f"'{value}'" if isinstance(value, str) else str(value)


async def plan_of(database: Database, query: str, values: tuple[Any, ...], mode: str) -> Any:
    """The plan by which PostgreSQL has answered a query."""
    sql = load(resource_folder("sql"), "postgresql")[query].statements[0].sql
    arguments = ", ".join(map(literal, values))
    async with database.transaction() as tx:
        await tx.execute(f"SET LOCAL plan_cache_mode = {mode}")
        await tx.execute(f"PREPARE asked AS {sql}")
        ((told,),) = await tx.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked({arguments})")
        await tx.execute("DEALLOCATE asked")
    return (told if isinstance(told, list) else json.loads(told))[0]["Plan"]
