"""The service without its event log, leases and chunks of text: what these three cost is the
difference. It is no product: nothing could be resumed, and a killed process would leave its
replies unfinished for ever.

    python -m bench.without_log
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import operator_svc.db
from operator_svc.cli import main
from operator_svc.db.contract import Dialect
from operator_svc.db.queries import Query, load
from operator_svc.services.chat.reply_writer import ReplyWriter
from operator_svc.services.lease import Lease

CHANGED = ("chat_start", "chat_start_new", "reply_finish")
_LEFT_OUT = ("INSERT INTO operator_event", "DELETE FROM operator_reply_chunk")
_CTE = re.compile(r",\s+(?:events|chunks) AS \(\n.*?\n\)(?=,|\n)", re.DOTALL)
_COUNTED = re.compile(r"changes\(\) / \d")
"""Replies, counted by their events."""


def _without(query: Query) -> Query:
    """``query`` without what it writes to the log and deletes of chunks."""
    statements = [
        statement._replace(sql=_without_parts(statement.sql))
        for statement in query.statements
        if not statement.sql.startswith(_LEFT_OUT)
    ]
    left = " ".join(statement.sql for statement in statements)
    if any(text in left for text in _LEFT_OUT) or left == " ".join(
        statement.sql for statement in query.statements
    ):
        raise RuntimeError(f"{query.name} is written in another way than this file expects")
    return query._replace(statements=tuple(statements))


def _without_parts(sql: str) -> str:
    """``sql`` without its parts for the log and the chunks; PostgreSQL must still be able to
    tell the type of each parameter."""
    left = _COUNTED.sub("changes()", _CTE.sub("", sql))
    lost = set(re.findall(r"\$\d+", sql)) - set(re.findall(r"\$\d+", left))
    types = "".join(f", CAST({number} AS text)" for number in sorted(lost))
    return left.replace("WITH ", f"WITH lost AS (SELECT 1{types}), ", 1) if lost else left


def _load(folder: Path, dialect: Dialect) -> dict[str, Query]:
    queries = load(folder, dialect)
    return queries | {name: _without(queries[name]) for name in CHANGED}


async def _nothing(*_: object) -> None:
    """Neither stored nor renewed."""


if __name__ == "__main__":
    operator_svc.db.load = _load  # type: ignore[attr-defined]
    ReplyWriter.store_texts = _nothing  # type: ignore[method-assign, assignment]
    Lease.renew = _nothing  # type: ignore[method-assign, assignment]
    sys.argv[1:] = ["serve"]
    main()
