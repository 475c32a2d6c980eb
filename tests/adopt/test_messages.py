"""Legacy messages become messages, on both engines."""

from __future__ import annotations

import datetime as dt
from typing import Any

from operator_svc.models import (
    Message,
    Session,
    ToolCall,
)
from tests.adopt.conftest import AT_NOON, NOON, LegacyFile, Target
from tests.rest.rest_service import running

METADATA: list[tuple[str | None, Any]] = [
    ('{"a": 1', {"adopted_metadata": '{"a": 1'}),
    ("plain words", {"adopted_metadata": "plain words"}),
    ("[1, 2]", {"adopted_metadata": [1, 2]}),
    ('"text"', {"adopted_metadata": "text"}),
    ("NaN", {"adopted_metadata": "NaN"}),
    ('{"a": 1e999}', {"adopted_metadata": '{"a": 1e999}'}),
    ('{"a": 1E-9999}', {"a": 0.0}),
    ('{"a": 12345678901234567890123}', {"a": 12345678901234567890123}),
    ('{"a": "\\u0000", "b\\u0000": 1}', {"a": "\ufffd", "b\ufffd": 1}),
    ('{"a": "\\ud83d\\ude00 \\ud83d"}', {"a": "\U0001f600 \ufffd"}),
    ("[" * 101 + "]" * 101, {"adopted_metadata": "[" * 101 + "]" * 101}),
    ("[" * 50_000, {"adopted_metadata": "[" * 50_000}),
    ('{"a": "' + "[" * 200 + '"}', {"a": "[" * 200}),
    ("9" * 5000, {"adopted_metadata": "9" * 5000}),
    ('{"openai": {"left_out": 5}, "a": 1}', {"a": 1, "adopted_openai": {"left_out": 5}}),
    ("", None),
    ("  ", None),
    ("null", None),
    (None, None),
]


async def test_metadata_of_any_json_becomes_an_object_without_loss(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("abc")
    for legacy_text, _ in METADATA:
        legacy.messages("abc", "x", message_metadata=legacy_text)
    await target.adopt(legacy)
    found = [message.metadata for message in await target.rows(Message)]
    assert found == [metadata for _, metadata in METADATA]


async def test_session_goes_on_whose_metadata_had_a_field_of_operators_own(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("abc")
    kept = '{"openai": {"item": true, "left_out": 5, "messages": []}}'
    for role in ("user", "assistant", "tool"):
        legacy.messages("abc", "x", role=role, message_metadata=kept)
    await target.adopt(legacy)
    (message,) = await target.rows(Message, "WHERE role = 'user'")
    async with running(target.url) as service:
        assert (await service.chat("hello", session_id="abc"))["message_id"]
        again = {"session_id": "abc", "metadata": {"regenerate": message.id}}
        assert (await service.post("/operator/chat", again)).status == 200


ROLES: list[tuple[str, str, Any]] = [
    ("assistant", "assistant", None),
    ("User", "user", {"adopted_role": "User"}),
    (" bot ", "assistant", {"adopted_role": " bot "}),
    ("narrator", "user", {"adopted_role": "narrator"}),
]


async def test_unknown_role_becomes_a_known_one_and_is_kept(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("abc")
    for role, _, _ in ROLES:
        legacy.messages("abc", "x", role=role)
    report = await target.adopt(legacy)
    found = [(message.role, message.metadata) for message in await target.rows(Message)]
    assert found == [(new, kept) for _, new, kept in ROLES]
    assert report.tables["operator_message"].mended == len(ROLES) - 1


async def test_text_that_cannot_be_stored_is_mended(legacy: LegacyFile, target: Target) -> None:
    legacy.session("abc", user_id="a\0na")
    legacy.run(
        "INSERT INTO operator_message (session_id, role, content, created_at) VALUES"
        " ('abc', 'user', CAST(x'61004200' AS TEXT), '2025-12-14 12:00:00'),"
        " ('abc', 'user', CAST(x'eda0bdedb880ff' AS TEXT), '2025-12-14 12:00:00'),"
        " ('abc', 'user', CAST(x'61eda0bd62' AS TEXT), '2025-12-14 12:00:00'),"
        " ('abc', 'user', x'68c3a9', '2025-12-14 12:00:00'),"
        " ('abc', 'user', 12.5, '2025-12-14 12:00:00')"
    )
    report = await target.adopt(legacy)
    (session,) = await target.rows(Session)
    assert session.user_id == "a\ufffdna"
    assert session.metadata == {"adopted_user_id": "a\ufffdna"}
    assert [message.content for message in await target.rows(Message)] == [
        "a\ufffdB\ufffd", "\ufffd" * 7, "a\ufffdb", "hé", "12.5",
    ]  # fmt: skip
    assert report.tables["operator_message"].mended == 4


TIMES: list[tuple[object, dt.datetime]] = [
    ("2025-12-14 12:00:00.000001", AT_NOON + dt.timedelta(microseconds=1)),
    ("2025-12-14T12:00:00Z", AT_NOON),
    ("2025-12-14T07:00:00-05:00", AT_NOON),
    ("2025-12-14", AT_NOON - dt.timedelta(hours=12)),
    (1765713600, AT_NOON),
    (1765713600000, AT_NOON),
    (1765713600.25, AT_NOON + dt.timedelta(seconds=0.25)),
    ("2025-12-14 12:00:00", AT_NOON),
    # What is no time has that of the message before.
    ("0001-01-01T00:00:00+05:00", AT_NOON),
    ("yesterday", AT_NOON),
    (1e30, AT_NOON),
    (b"\xff", AT_NOON),
    (None, AT_NOON),
]


async def test_time_in_any_form_is_read_or_taken_from_the_message_before(
    untyped: LegacyFile, target: Target
) -> None:
    untyped.session("abc", id=1)
    for number, (value, _) in enumerate(TIMES, 1):
        untyped.messages("abc", "x", id=number, created_at=value)
    report = await target.adopt(untyped)
    assert [message.created_at for message in await target.rows(Message)] == [t for _, t in TIMES]
    assert report.reasons["operator_message", "mended", "created_at was missing"] == 5


async def test_message_ids_that_cannot_be_kept_are_replaced_in_order(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("abc", id=-3)
    for number in (-5, 0, 3, 4, 2**60):
        legacy.messages("abc", f"no {number}", id=number)
    legacy.add("tool_call", *(
        {"message_id": n, "tool_name": str(n), "status": "ok", "created_at": NOON}
        for n in (-5, 3, 2**60)
    ))  # fmt: skip
    await target.adopt(legacy)
    messages = await target.rows(Message)
    assert [message.content for message in messages] == [
        "no -5", "no 0", "no 3", "no 4", f"no {2**60}",
    ]  # fmt: skip
    assert all(0 < message.id < 2**53 for message in messages)
    named = {message.id: message.content for message in messages}
    for call in await target.rows(ToolCall):
        assert named[call.message_id] == f"no {call.tool_name}"
    (session,) = await target.rows(Session)
    assert session.id > 0
