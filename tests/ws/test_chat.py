"""Chats over the websocket: what is answered, shown and kept."""

from __future__ import annotations

import pytest

from operator_svc.stores.sessions import SessionStore
from tests.ws.ws_service import Service, think


async def test_a_chat_is_answered_shown_and_kept(both: Service) -> None:
    socket = await both.ready()
    assert socket.frames[0]["type"] == "ready"
    assert socket.frames[0]["seq"] == 0
    assert socket.frames[0]["epoch"] is None
    ids = await socket.chat("hello")
    assert ids["session_id"] == "s"
    speaker = await both.switch.next()
    assert speaker.prompt.message == "hello"
    speaker.say("Good ", "mor", "ning 😀", None)
    await socket.until(lambda: socket.view.endings)
    assert socket.view.texts == {ids["reply_id"]: "Good morning 😀"}
    assert [f["event"] for f in socket.events()] == [
        "session.created", "message.created", "reply.started", "reply.completed",
    ]  # fmt: skip
    assert [f["seq"] for f in socket.events()] == [1, 2, 3, 4]
    assert [(d["offset"], d["end"], d["content"]) for d in socket.of("delta")] == [
        (0, 5, "Good "), (5, 8, "mor"), (8, 14, "ning 😀"),
    ]  # fmt: skip
    history = await both.history()
    assert [(m["id"], m["role"], m["content"]) for m in history] == [
        (ids["message_id"], "user", "hello"),
        (ids["reply_id"], "assistant", "Good morning 😀"),
    ]


async def test_all_sockets_of_a_session_see_the_same(both: Service) -> None:
    one, two, other = await both.ready("s"), await both.ready("s"), await both.ready("t")
    ids = await one.chat("hello")
    (await both.switch.next()).say(think("hm"), "a ", "b", None)
    for socket in (one, two):
        await socket.ended()
    assert [f for f in one.frames if f["type"] not in ("ready", "result")] == two.frames[1:]
    assert two.view.texts == {ids["reply_id"]: "a b"}
    assert two.view.thoughts == {ids["reply_id"]: "hm"}
    assert other.frames == other.of("ready")


@pytest.fixture
def slow_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have services keep the rows of deleted sessions, until it is undone."""
    monkeypatch.setattr("operator_svc.stores.sessions.SMALL", 0)
    monkeypatch.setattr(SessionStore, "delete_piece", no_piece)


async def no_piece(_: SessionStore) -> bool:
    return False


async def test_a_chat_in_a_session_that_is_being_deleted_may_be_sent_again(
    slow_deletion: None, both: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await both.ready()
    await first.chat("gone")
    (await both.switch.next()).say("gone", None)
    await first.ended()
    deletion = both.operator.session_deletion
    assert await deletion.delete("s", None)
    assert await first.closed() == 4504
    socket = await both.ready()
    assert (socket.frames[0]["seq"], socket.frames[0]["epoch"]) == (0, None)
    refused = await socket.ask(type="chat", message="new", client_message_id="k")
    assert refused["error"]["error"] == "conflict"
    assert refused["error"]["retryable"]
    assert refused["error"]["retry_after"] > 0
    monkeypatch.undo()
    await deletion.run()
    ids = await socket.chat("new", client_message_id="k")
    (await both.switch.next()).say("kept", None)
    await socket.ended()
    assert [f["seq"] for f in socket.events()] == [1, 2, 3, 4]
    assert socket.view.texts == {ids["reply_id"]: "kept"}
    assert [m["content"] for m in await both.history()] == ["new", "kept"]
