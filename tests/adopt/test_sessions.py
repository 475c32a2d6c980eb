"""Legacy sessions become sessions, on both engines."""

from __future__ import annotations

import datetime as dt

from operator_svc.models import (
    Message,
    Session,
)
from operator_svc.stores.sessions import NEWEST, SessionStore
from tests.adopt.conftest import AT_NOON, LegacyFile, Target


async def test_sessions_are_listed_by_their_last_message(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("early")
    legacy.session("late")
    legacy.messages("late", "x", created_at="2025-12-14 12:00:00")
    legacy.messages("early", "x", created_at="2025-12-14 19:00:00")
    await target.adopt(legacy)
    async with target.open() as database:
        page = await SessionStore(database).page(user_id=None, words=None, before=NEWEST, limit=9)
    assert [session.session_id for session in page.rows] == ["early", "late"]


async def test_sessions_with_one_id_become_one_session(legacy: LegacyFile, target: Target) -> None:
    legacy.session("twice", created_at="2025-12-14 12:00:00", user_id="late", source="web",
                updated_at="2025-12-14 12:30:00")  # fmt: skip
    legacy.session("twice", created_at="2025-12-14 09:00:00", user_id="early", source="cli",
                updated_at="2025-12-14 09:30:00")  # fmt: skip
    legacy.session("twice", created_at="2025-12-14T11:00:00+02:00", user_id="early", source="api",
                updated_at="2025-12-14 18:00:00")  # fmt: skip
    legacy.messages("twice", "a", "b")
    report = await target.adopt(legacy)
    (session,) = await target.rows(Session)
    assert (session.id, session.user_id, session.source) == (2, "early", "cli")
    assert session.created_at == AT_NOON - dt.timedelta(hours=3)
    assert session.updated_at == AT_NOON + dt.timedelta(hours=6)
    assert session.message_count == 2
    counts = report.tables["operator_session"]
    assert (counts.read, counts.written, counts.joined) == (3, 1, 2)


NAMES = ["mi sesión", "a/b", "x" * 65, "a\0b", "ü", "a\nb", "🙂" * 80, "a b", "a_b", "a-b"]

VALID_NAMES = {"a_b", "a-b"}


async def test_session_ids_that_break_the_rule_are_replaced(
    legacy: LegacyFile, target: Target
) -> None:
    for name in NAMES:
        legacy.session(name)
        legacy.messages(name, name.replace("\0", "\ufffd"))
    report = await target.adopt(legacy)
    sessions = {session.session_id: session for session in await target.rows(Session)}
    assert len(sessions) == len(NAMES)
    for message in await target.rows(Message):
        session = sessions.pop(message.session_id)
        assert session.message_count == 1
        if message.content in VALID_NAMES:
            assert (session.session_id, session.metadata) == (message.content, None)
        else:
            assert session.metadata == {"adopted_session_id": message.content}
    assert not sessions
    assert report.tables["operator_session"].mended == len(NAMES) - len(VALID_NAMES)
