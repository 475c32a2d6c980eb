"""Records of sessions and messages that only those who may see them write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.stores.sessions import SessionStore
from operator_svc.stores.switch_adjustments import AdjustmentStore
from operator_svc.stores.switch_feedback import FeedbackStore
from operator_svc.stores.tool_calls import ToolCallStore
from tests.stores.record_rows import adjustment, chat, feedback, tool_call

NO_MESSAGE = 1_000_000


def record(kind: str, message_id: int, **fields: Any) -> dict[str, Any]:
    """The parameters of a record about a message; a tool call's session is that of its message."""
    if kind == "tool call":
        return tool_call(message_id, viewer=fields.get("viewer"))
    of: dict[str, Any] = {"session_id": "s-1", "message_id": message_id} | fields
    return adjustment(**of) if kind == "adjustment" else feedback("e", **of)


STORES: dict[str, Callable[[Database], Any]] = {
    "adjustment": AdjustmentStore,
    "feedback": FeedbackStore,
    "tool call": ToolCallStore,
}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    *((kind, {"viewer": "bob"}) for kind in STORES),
    *((kind, {"message_id": NO_MESSAGE}) for kind in STORES),
    ("adjustment", {"session_id": "s-2"}),
    ("adjustment", {"session_id": None, "message_id": NO_MESSAGE}),
    ("feedback", {"session_id": "s-2"}),
]


@pytest.mark.parametrize(("kind", "fields"), REFUSED)
async def test_record_of_what_its_viewer_may_not_see_is_refused_and_takes_no_number(
    database: Database, kind: str, fields: dict[str, Any]
) -> None:
    given = {"message_id": (await chat(database)).reply_id} | fields
    store = STORES[kind](database)
    assert await store.record(**record(kind, **given)) is None
    session = await SessionStore(database).get("s-1")
    assert session is not None
    assert session.last_seq == 3


@pytest.mark.parametrize("kind", STORES)
async def test_record_of_what_its_viewer_may_see_is_stored(database: Database, kind: str) -> None:
    started = await chat(database)
    written = await STORES[kind](database).record(**record(kind, started.reply_id, viewer="ann"))
    assert written is not None
    assert written.event.seq == 4
