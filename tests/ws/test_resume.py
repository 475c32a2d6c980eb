"""Coming late and coming back: snapshots, replays, and the state to start from anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operator_svc.services.live import subscriptions
from tests.fakes.client_view import ClientView
from tests.ws.conftest import Start
from tests.ws.ws_service import Service, Socket, think

TEXTS = ["Grüße ", "an ", "👩‍👩‍👧", " und ", "漢字", "\u2028?", " 😀😀"]


def kinds(socket: Socket) -> list[Any]:
    return [f.get("event", f["type"]) for f in socket.frames]


async def test_a_late_client_gets_a_snapshot_and_then_deltas(both: Service) -> None:
    _, ids, speaker = await both.speaking(think("let me see"), "one ", "two ")
    late = await both.ready()
    await late.until(lambda: len(late.of("reply.snapshot")) == 2)
    assert kinds(late) == ["ready", "reply.snapshot", "reply.snapshot"]
    assert late.of("reply.snapshot") == [
        {"type": "reply.snapshot", "reply_id": ids["reply_id"], "kind": "text",
         "text": "one two ", "end": 8},
        {"type": "reply.snapshot", "reply_id": ids["reply_id"], "kind": "reasoning",
         "text": "let me see", "end": 10},
    ]  # fmt: skip
    speaker.say("three", None)
    await late.ended()
    assert [d["offset"] for d in late.of("delta")] == [8]
    assert late.view.texts == {ids["reply_id"]: "one two three"}
    assert late.view.thoughts == {ids["reply_id"]: "let me see"}


async def test_a_client_before_the_first_word_gets_an_empty_snapshot(service: Service) -> None:
    first = await service.ready()
    ids = await first.chat()
    late = await service.ready()
    await late.until(lambda: late.of("reply.snapshot"))
    assert late.of("reply.snapshot") == [
        {"type": "reply.snapshot", "reply_id": ids["reply_id"], "kind": "text", "text": "",
         "end": 0}
    ]  # fmt: skip


async def test_offsets_count_code_points_of_the_stored_text(both: Service) -> None:
    socket, ids, speaker = await both.speaking(*TEXTS[:3])
    late = await both.ready()
    speaker.say(*TEXTS[3:], None)
    await asyncio.gather(socket.ended(), late.ended())
    text = "".join(TEXTS)
    assert socket.view.texts == late.view.texts == {ids["reply_id"]: text}
    assert (await both.history())[1]["content"] == text
    assert socket.events("reply.completed")[0]["data"]["length"] == len(text)
    assert socket.of("delta")[-1]["end"] == len(text)


async def test_resume_replays_what_was_missed(both: Service) -> None:
    stayed, left = await both.ready(), await both.ready()
    ids = await stayed.chat("one")
    speaker = await both.switch.next()
    speaker.say("some ", "words")
    await left.until(lambda: left.view.texts.get(ids["reply_id"]) == "some words")
    await left.leave()
    speaker.say(", and more", None)
    await stayed.ended()
    more = await stayed.chat("two")
    speaker = await both.switch.next()
    speaker.say("still ")
    await stayed.until(lambda: stayed.view.texts.get(more["reply_id"]) == "still ")
    back = await both.back(left)
    await back.until(lambda: back.of("reply.snapshot"))
    assert kinds(back) == [
        "ready", "reply.completed", "message.created", "reply.started", "resumed", "reply.snapshot",
    ]  # fmt: skip
    assert back.of("resumed") == [{"type": "resumed", "after": 3, "seq": 6}]
    speaker.say("going", None)
    await asyncio.gather(back.ended(2), stayed.ended(2))
    assert back.view.texts == stayed.view.texts
    assert left.view.events + back.view.events == stayed.view.events
    history = await both.history()
    assert [back.view.texts[m["id"]] for m in history if m["role"] == "assistant"] == [
        "some words, and more", "still going",
    ]  # fmt: skip


async def test_resume_replays_events_that_the_socket_has_had(both: Service) -> None:
    await both.said(2)
    socket, ids, speaker = await both.speaking("text")
    socket.view.expect_replay(2)
    result = await socket.ask(type="resume", after=2)
    assert result["ok"]
    await socket.until(lambda: socket.of("reply.snapshot"))
    assert [f["seq"] for f in socket.events()] == [8, 9, *range(3, 10)]
    speaker.say("!", None)
    await socket.until(lambda: ids["reply_id"] in socket.view.endings)
    assert [f["seq"] for f in socket.events()] == [8, 9, *range(3, 11)]
    assert socket.view.texts[ids["reply_id"]] == "text!"


async def test_two_resumes_at_once_run_one_after_the_other(service: Service) -> None:
    await service.said(3)
    socket = await service.ready()
    socket.view = ClientView(lambda _: None)  # the second replay begins right behind the first
    for number in range(2):
        await socket.send({"type": "resume", "after": 0, "id": number})
    await socket.until(lambda: len(socket.of("result")) == 2)
    assert [f["seq"] for f in socket.events()] == [*range(1, 11), *range(1, 11)]


async def test_resume_of_a_session_that_is_not_there_yet_is_answered(service: Service) -> None:
    socket = await service.ready(query="?after=0")
    await socket.until(lambda: socket.of("resumed"))
    assert kinds(socket) == ["ready", "resumed"]
    service.switch.answer = ["yes"]
    await socket.chat()
    await socket.ended()
    assert [f["seq"] for f in socket.events()] == [1, 2, 3, 4]


async def test_resume_beyond_the_limit_resyncs(start: Start) -> None:
    service = await start(resume_limit=7)
    await service.said(3)  # ten events
    within = await service.ready(query="?after=3")
    await within.until(lambda: within.of("resumed"))
    assert [f["seq"] for f in within.events()] == list(range(4, 11))
    assert within.of("resync") == []
    beyond = await service.ready(query="?after=2")
    await beyond.until(lambda: beyond.of("resync"))
    assert beyond.events() == beyond.of("resumed") == []


async def _resynced(service: Service, query: str) -> Socket:
    """A socket that had to start anew, and the state that it got is the session's."""
    socket = await service.ready(query=query)
    await socket.until(lambda: socket.of("resync"))
    (resync,) = socket.of("resync")
    assert resync["epoch"] == socket.frames[0]["epoch"]
    assert resync["seq"] == socket.frames[0]["seq"]
    history = await service.history()
    assert resync["snapshot"]["messages"] == history[-50:]
    return socket


@pytest.mark.parametrize(
    "query",
    ["?after=5", "?after=9999999999", "?after=2&epoch=00000000-0000-4000-8000-000000000000"],
)
async def test_resume_ahead_or_from_another_epoch_resyncs(both: Service, query: str) -> None:
    await both.said(1)
    socket = await _resynced(both, query)
    both.switch.answer = ["yes"]
    await socket.chat()
    await socket.ended()
    assert [f["seq"] for f in socket.events()] == [5, 6, 7]


async def test_resume_from_purged_events_resyncs(both: Service) -> None:
    await both.said(2)
    database = both.operator.core.database
    async with database.transaction() as transaction:
        await transaction.execute("DELETE FROM operator_event WHERE seq <= 4")
    socket = await _resynced(both, "?after=2")
    assert socket.events() == []
    kept = await both.ready(query="?after=4")
    await kept.until(lambda: kept.of("resumed"))
    assert [f["seq"] for f in kept.events()] == [5, 6, 7]


async def test_resume_from_a_purged_log_resyncs(service: Service) -> None:
    await service.said(1)
    async with service.operator.core.database.transaction() as transaction:
        await transaction.execute("DELETE FROM operator_event")
    await _resynced(service, "?after=2")
    newest = await service.ready(query="?after=4")
    await newest.until(lambda: newest.of("resumed"))
    assert newest.events() == []


async def test_resync_is_followed_by_the_running_replys_snapshot(both: Service) -> None:
    await both.said(1)
    _, ids, speaker = await both.speaking("being ", "written")
    socket = await both.ready(query="?after=77")
    await socket.until(lambda: socket.of("reply.snapshot"))
    assert kinds(socket)[1:] == ["resync", "reply.snapshot"]
    assert socket.view.texts[ids["reply_id"]] == "being written"
    speaker.say("!", None)
    await socket.ended()
    assert socket.view.texts[ids["reply_id"]] == "being written!"


async def test_resync_has_the_newest_messages_and_next_before(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "RESYNC_MESSAGES", 3)
    service = await start()
    await service.said(3)
    snapshot = (await service.resync())["snapshot"]
    history = await service.history()
    assert snapshot["messages"] == history[-3:]
    assert snapshot["next_before"] == history[-3]["id"]


async def test_a_replay_of_many_pages_loses_nothing_that_comes_meanwhile(
    both: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "REPLAY_PAGE", 2)
    await both.said(6)
    both.switch.answer = ["more"]
    talker = await both.ready()

    async def talk() -> None:
        for number in range(10):
            await talker.chat(f"more {number}")

    async def resume() -> Socket:
        return await both.ready(query="?after=0")

    talking = asyncio.create_task(talk())
    sockets = await asyncio.gather(*(resume() for _ in range(5)))
    await talking
    seq = 6 * 3 + 1 + 10 * 3
    for socket in sockets:
        await socket.shown(seq)
        assert [f["seq"] for f in socket.events()] == list(range(1, seq + 1))
    assert all(s.events() == sockets[0].events() for s in sockets)


async def test_replayed_and_live_events_are_equal(both: Service) -> None:
    socket = await both.ready()
    ids = await socket.chat("first", metadata={"a": [1, {"b": None}]}, client_message_id="k")
    (await both.switch.next()).say("text", None)
    await socket.ended()
    await socket.chat(None, metadata={"regenerate": ids["message_id"]})
    (await both.switch.next()).say("other", None)
    await socket.ended(2)
    again = await both.ready(query="?after=0")
    await again.until(lambda: again.of("resumed"))
    assert again.events() == socket.events()
    headers: dict[str, Any] = {"X-VX11-Token": "token-of-the-tests"}
    async with both.session.get(
        f"{both.url}/operator/session/s/events", headers=headers
    ) as response:
        listed = (await response.json())["events"]
    assert [{"type": "event", **event} for event in listed] == socket.events()
