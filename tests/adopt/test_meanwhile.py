"""Servers on PostgreSQL go on while a legacy database is brought in."""

from __future__ import annotations

import psycopg

from operator_svc.adopt.importer import adopt
from operator_svc.models import Message
from tests.adopt.conftest import LegacyFile, Target


async def test_rows_written_during_adoption_get_higher_ids(
    legacy: LegacyFile, postgresql_url: str
) -> None:
    legacy.session("abc")
    legacy.messages("abc", *(f"old {number}" for number in range(20)))
    target = Target(postgresql_url)
    written: list[int] = []

    def write_meanwhile(table: str, done: int, total: int) -> None:
        if table != "operator_message":
            return
        # Before any message is brought in, and after all of them are, neither of them committed.
        with psycopg.connect(postgresql_url, autocommit=True) as beside:
            beside.execute("SET statement_timeout = 5000")
            beside.execute(
                "INSERT INTO operator_session (session_id, epoch, user_id, source)"
                " VALUES ('live', gen_random_uuid(), 'local', 'api') ON CONFLICT DO NOTHING"
            )
            row = beside.execute(
                "INSERT INTO operator_message (session_id, role, content, status)"
                " VALUES ('live', 'user', 'new', 'complete') RETURNING id"
            ).fetchone()
            assert row is not None
            written.append(row[0])

    await adopt(target.settings, legacy.path, dry_run=False, progress=write_meanwhile)
    assert len(written) == 2
    assert min(written) > 20
    messages = await target.rows(Message)
    assert [m.id for m in messages if m.session_id == "abc"] == list(range(1, 21))
    assert [m.id for m in messages if m.session_id == "live"] == written
