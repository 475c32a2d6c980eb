"""The history of a chat whose session this process wrote to last: what it keeps is used as long as
nobody else wrote, and is what the database has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rest.openai_calls import two_processes
from tests.rest.rest_service import Service

pytestmark = pytest.mark.one_bus
"""Processes meet in the database."""


def told(service: Service) -> list[str]:
    """The texts of the history that Switch was told last."""
    history: list[dict[str, Any]] = service.switch.recent[-1]["metadata"].get("history", [])
    return [turn["content"] for turn in history]


async def chats(service: Service, *messages: str) -> list[str]:
    """Chats of one session; all that was said."""
    said = []
    for message in messages:
        said += [message, (await service.chat(message, session_id="s"))["response"]]
    return said


async def change_unseen(service: Service, content: str, to: str) -> None:
    """Change a message's text as nothing in the service does: without an event."""
    async with service.operator.services.database.transaction() as tx:
        await tx.execute(
            "UPDATE operator_message SET content = :new WHERE content = :old", new=to, old=content
        )


async def test_history_of_the_process_that_wrote_last_is_not_read(both: Service) -> None:
    said = await chats(both, "one", "two")
    await change_unseen(both, "one", "changed")
    said += await chats(both, "three")
    assert told(both) == said[:4], "as they were kept"
    failed = await both.post("/operator/chat", {"message": "[[500]]", "session_id": "s"})
    assert failed.status == 502
    assert told(both) == said
    await chats(both, "four")
    assert told(both) == said, "a failed reply is in no history"


async def test_history_of_failed_replies_alone_is_not_read_again_and_again(both: Service) -> None:
    for _ in range(3):
        failed = await both.post("/operator/chat", {"message": "[[500]]", "session_id": "s"})
        assert failed.status == 502
        async with both.operator.services.database.transaction() as tx:
            await tx.execute(
                "UPDATE operator_message SET status = 'complete', content = 'unseen'"
                " WHERE status = 'failed'"
            )
    said = await chats(both, "one", "two")
    assert told(both) == said[:2], "what is stored was not looked at"


async def test_history_is_read_after_a_message_was_deleted(both: Service) -> None:
    first = await both.chat("one", session_id="s")
    said = await chats(both, "two")
    deleted = await both.call("DELETE", f"/v1/responses/resp_{first['reply_id']}")
    assert deleted.status == 200
    await chats(both, "three")
    assert told(both) == said


async def test_history_is_read_after_another_reply_to_the_message(both: Service) -> None:
    said = await chats(both, "one")
    page = await (await both.get("/operator/session/s")).json()
    first = page["messages"][0]["id"]
    again = await both.chat(metadata={"regenerate": first}, session_id="s")
    await change_unseen(both, again["response"], "better")
    await chats(both, "two")
    assert told(both) == [said[0], "better"]


async def test_session_made_anew_has_none_of_the_history(both: Service) -> None:
    await chats(both, "one", "two")
    assert (await both.call("DELETE", "/operator/session/s")).status == 204
    said = await chats(both, "three", "four")
    assert told(both) == said[:2]


async def test_history_has_what_another_process_wrote(postgresql_url: str) -> None:
    async with two_processes(postgresql_url, "") as (one, other):
        said: list[str] = []
        for number, service in enumerate((one, one, other, one, other, other, one)):
            before = list(said)
            said += await chats(service, f"message {number}")
            assert told(one) == before, "they have one Switch"
