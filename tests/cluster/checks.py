"""Comparisons of what clients were told with what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from tests.cluster.clients import Chat, Reader
from tests.cluster.conftest import Cluster
from tests.cluster.databases import LostCommits
from tests.fakes.eventually import eventually


async def _page(cluster: Cluster, of: str) -> dict[str, Any] | None:
    """A page of a session's list; None where there is no such session."""
    async with cluster.http.get(f"{cluster.pods[0].url}/operator/session/{of}") as answer:
        if answer.status == 404:
            return None
        page: dict[str, Any] = await answer.json(content_type=None)
        assert answer.status == 200, page
        return page


async def history_of(cluster: Cluster, session_id: str) -> list[dict[str, Any]]:
    """All messages of a session, oldest first."""
    messages: list[dict[str, Any]] = []
    before = ""
    while True:
        page = await _page(cluster, f"{session_id}?limit=500{before}")
        if page is None:
            return []
        messages = page["messages"] + messages
        if page["next_before"] is None:
            assert page["message_count"] == len(messages)
            return messages
        before = f"&before={page['next_before']}"


async def events_of(cluster: Cluster, session_id: str) -> list[dict[str, Any]]:
    """All events of a session."""
    events: list[dict[str, Any]] = []
    while True:
        after = events[-1]["seq"] if events else 0
        page = await _page(cluster, f"{session_id}/events?after={after}&limit=1000")
        if page is None:
            return []
        events += page["events"]
        if page["next_after"] is None:
            return events


async def caught_up(readers: list[Reader], logs: dict[str, list[dict[str, Any]]]) -> None:
    """Each reader gets to the end of its session's log."""

    def at_the_end() -> bool:
        for reader in readers:
            last = len(logs[reader.session_id])
            assert reader.seq >= last, f"{reader.name} stays at {reader.seq} of {last}"
        return True

    await eventually(at_the_end, 15, every=0.05)


def check_chats(
    chats: list[Chat], stories: dict[str, list[dict[str, Any]]], lost: LostCommits | None = None
) -> None:
    """No acknowledged message is missing, and each key has one message and one whole reply.

    What a failover lost is no more acknowledged.
    """
    lost = lost or LostCommits()
    for chat in chats:
        story = stories[chat.session_id]
        asked = [m for m in story if m["role"] == "user" and m["content"] == chat.message]
        assert len(asked) <= 1, f"stored {len(asked)} times: {chat.message} {chat.seen}"
        kept = {id_ for id_ in chat.promised if (id_, chat.message) not in lost.messages}
        assert {m["id"] for m in asked} >= kept, f"lost: {chat.message} {chat.seen}"
        if chat.answer is not None:
            _check_answer(chat, chat.answer, story, lost)


def _check_answer(
    chat: Chat, answer: dict[str, Any], story: list[dict[str, Any]], lost: LostCommits
) -> None:
    """The reply that was answered is the one that is stored, unless a failover lost it."""
    if (answer["reply_id"], answer["reply"]) in lost.ends:
        return
    replies = {m["id"]: m for m in story if m["reply_to"] == answer["message_id"]}
    whole = [m for m in replies.values() if m["status"] in ("complete", "cancelled")]
    assert len(whole) == 1, f"{len(whole)} whole replies to {chat.message} {chat.seen}"
    assert whole[0]["content"] == answer["reply"], f"another text answers {chat.message}"
    assert whole[0]["id"] == answer["reply_id"], f"another reply answers {chat.message}"


def check_log(log: list[dict[str, Any]], story: list[dict[str, Any]]) -> None:
    """Numbers without a gap, and exactly one last event for each reply, as it is stored."""
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1)), "a gap in a log"
    ends: Counter[int] = Counter()
    for event in log:
        if event["event"].startswith("reply.") and event["event"] != "reply.started":
            ends[event["data"]["reply_id"]] += 1
    replies = {m["id"]: m for m in story if m["role"] == "assistant"}
    assert set(ends) == set(replies), f"without an end: {set(ends) ^ set(replies)}"
    assert set(ends.values()) <= {1}, f"{ends.most_common(1)}: a reply with several ends"


def check_reader(reader: Reader, log: list[dict[str, Any]], story: list[dict[str, Any]]) -> None:
    """It was shown every event once and in order, as it is stored, and has the text that is."""
    assert reader.problems == [], f"{reader.name}: {reader.problems[:3]}"
    view = reader.view
    if not view.resyncs and view.seqs:
        assert view.seqs == list(range(view.seqs[0], len(log) + 1)), f"{reader.name}: a gap"
    stored = {m["id"]: m["content"] for m in story}
    for reply_id, text in view.texts.items():
        assert reply_id in stored, f"{reader.name} has {reply_id}, which is not stored"
        assert text == stored[reply_id], f"{reader.name} has another text of {reply_id}"
    by_seq = {event["seq"]: event for event in log}
    for event in view.events[view.before_resync :]:
        if "seq" in event:
            shown = {k: v for k, v in event.items() if k != "type"}
            assert shown == by_seq[event["seq"]], f"{reader.name} has another {event['seq']}"


def check_calls(
    cluster: Cluster,
    chats: list[Chat],
    stories: dict[str, list[dict[str, Any]]],
    frozen: Collection[str] = (),
    lost: LostCommits | None = None,
) -> int:
    """Never two calls for one key at once, none after a whole reply, one for each reply."""
    total = 0
    begun = Counter[str]() if lost is None else lost.begun
    by_message = cluster.peers.switch.by_message
    for chat in chats:
        counted = by_message.get(chat.message)
        if counted is None:
            continue
        total += counted.calls
        story = stories[chat.session_id]
        asked = [m["id"] for m in story if m["content"] == chat.message]
        replies = len([m for m in story if m["reply_to"] in asked]) + begun[chat.message]
        assert counted.calls <= replies, f"{counted.calls} calls for {chat.message}"
        assert counted.running == 0, f"Switch is still asked for {chat.message}"
        if chat.message not in frozen:
            assert counted.max_running <= 1, f"two calls at once for {chat.message}"
    return total
