"""Replies: one for each key, stopped, recovered and deleted, on one pod and on several."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import REGISTRY

from operator_svc.app import Operator
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ReplyStatus
from operator_svc.protocol.chat import Chat
from operator_svc.services.chat import reply_storage
from operator_svc.services.chat.running_replies import Accepted
from tests.fakes.eventually import WITHIN, eventually
from tests.fakes.pods import ANYBODY, BRIEF_LEASE, Pods, Reader, all_until, chat, watch

OFTEN = 0.02
"""Seconds between checkpoints: with each tick."""


async def test_one_key_on_two_pods_asks_switch_once(shared: Pods) -> None:
    one, two = await shared.start(), await shared.start()
    starts = await asyncio.gather(
        *(chat(pod, client_message_id="k") for pod in (one, two, one, two))
    )
    shared.switch.say("once", None)
    outcomes = [
        await pod.services.replies.wait(accepted, WITHIN)
        for pod, accepted in zip((one, two, one, two), starts, strict=True)
    ]
    assert [o and o.content for o in outcomes] == ["once"] * 4
    assert len({a.reply_id for a in starts}) == 1
    assert len(shared.switch.prompts) == 1
    with pytest.raises(OperatorError) as refused:
        await chat(two, "another body", client_message_id="k")
    assert refused.value.code is ErrorCode.CONFLICT
    again = await chat(two, client_message_id="k")
    assert again.reply_id == starts[0].reply_id


async def test_a_key_whose_reply_failed_begins_another_reply(pods: Pods) -> None:
    pod = await pods.start()
    first = await chat(pod, client_message_id="k", session_id="s")
    pods.switch.say("half")
    pods.switch.say(OperatorError(ErrorCode.SWITCH_ERROR, "it was cut"))
    outcome = await pod.services.replies.wait(first)
    assert outcome is not None
    assert (outcome.status, outcome.content) == (ReplyStatus.FAILED, "half")
    with pytest.raises(OperatorError) as failed:
        await pod.services.replies.answer(first, outcome)
    assert failed.value.code is ErrorCode.SWITCH_ERROR
    second = await chat(pod, client_message_id="k", session_id="s")
    assert second.message_id == first.message_id
    assert second.reply_id != first.reply_id
    pods.switch.say("whole", None)
    whole = await pod.services.replies.wait(second)
    assert whole is not None
    assert whole.content == "whole"
    history = await pod.services.history.page(ANYBODY, "s", limit=10, before=None)
    assert [m.status for m in history.messages] == ["complete", "failed", "complete"]
    assert history.messages[1].metadata["error"] == "switch_error"


async def until_stored(accepted: Accepted, text: str) -> None:
    """Wait until a checkpoint has stored all this: by NATS others are shown it before."""
    running = accepted.running
    assert running is not None
    await eventually(lambda: running.stream.stored_end == len(text))


async def shown_on_another(
    shared: Pods, text: str, **settings: Any
) -> tuple[Operator, Operator, Reader, Accepted]:
    """Two pods, and a reply of the first that a reader of the second was shown ``text`` of."""
    one, two = await shared.start(**settings), await shared.start(**settings)
    reader = await watch(two, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say(text)
    await reader.until(lambda: reader.texts.get(accepted.reply_id) == text)
    return one, two, reader, accepted


@pytest.mark.measures_time
async def test_callers_who_stop_waiting_for_a_reply_leave_it_to_the_others(pods: Pods) -> None:
    pod = await pods.start()
    accepted = await chat(pod)
    left, stays = (asyncio.create_task(pod.services.replies.wait(accepted)) for _ in range(2))
    assert await pod.services.replies.wait(accepted, 0.01) is None
    left.cancel()
    pods.switch.say("whole", None)
    outcome = await asyncio.wait_for(stays, WITHIN)
    assert outcome is not None
    assert (outcome.status, outcome.content) == (ReplyStatus.COMPLETE, "whole")
    assert left.cancelled()


async def test_a_cancel_on_another_pod_stops_the_reply_within_a_second(shared: Pods) -> None:
    one, two, reader, accepted = await shown_on_another(shared, "partial")
    begun = time.monotonic()
    view = await two.services.replies.cancel(ANYBODY, accepted.reply_id)
    assert time.monotonic() - begun < 1.0
    assert (view.status, view.content) == ("cancelled", "partial")
    assert shared.switch.closed == 1
    await reader.until(lambda: reader.endings == {accepted.reply_id: "reply.cancelled"})
    assert (await one.services.replies.cancel(ANYBODY, accepted.reply_id)).status == "cancelled"


async def test_a_cancel_before_the_first_token_ends_an_empty_reply(pods: Pods) -> None:
    pod = await pods.start()
    accepted = await chat(pod)
    view = await pod.services.replies.cancel(ANYBODY, accepted.reply_id)
    assert (view.status, view.content) == ("cancelled", "")
    assert pods.switch.running == 0


async def test_a_reply_of_a_dead_pod_is_interrupted_once(shared: Pods) -> None:
    one, two, three = [
        await shared.start(lease_ttl=BRIEF_LEASE, checkpoint=OFTEN) for _ in range(3)
    ]
    readers = [await watch(two, "s"), await watch(three, "s")]
    accepted = await chat(one, session_id="s")
    shared.switch.say("kept ", "text")
    await readers[0].until(lambda: readers[0].texts.get(accepted.reply_id) == "kept text")
    await until_stored(accepted, "kept text")
    await shared.kill(one)
    await all_until(readers, lambda reader: bool(reader.endings))
    for reader in readers:
        assert reader.endings == {accepted.reply_id: "reply.interrupted"}
        assert reader.texts == {accepted.reply_id: "kept text"}
        assert reader.seqs == [1, 2, 3, 4]
    ended = await two.services.replies.wait(accepted._replace(running=None))
    assert ended is not None
    with pytest.raises(OperatorError) as failed:
        await two.services.replies.answer(accepted, ended)
    assert failed.value.code is ErrorCode.REPLY_INTERRUPTED


async def test_a_pod_that_lost_its_lease_writes_nothing_more(shared: Pods) -> None:
    one, two, reader, accepted = await shown_on_another(
        shared, "before", lease_ttl=BRIEF_LEASE, checkpoint=OFTEN
    )
    await until_stored(accepted, "before")
    lost = REGISTRY.get_sample_value("operator_leases_lost_total") or 0.0
    async with two.core.database.transaction() as tx:
        await tx.execute(
            "UPDATE operator_pod SET lease_until = now() - interval '1 s' WHERE pod_id = :pod",
            pod=one.core.lease.pod_id,
        )
    await reader.until(lambda: bool(reader.endings))
    shared.switch.say("after", None)
    outcome = await one.services.replies.wait(accepted, WITHIN)
    assert outcome is not None
    assert (outcome.status, outcome.content) == (ReplyStatus.INTERRUPTED, "before")
    assert len(one.core.running) == 0
    assert (REGISTRY.get_sample_value("operator_leases_lost_total") or 0.0) >= lost + 1
    fresh = await chat(one, session_id="s")
    assert fresh.running is not None


async def test_a_reply_left_by_a_crash_is_interrupted_at_the_next_start(sqlite_url: str) -> None:
    pods = Pods(sqlite_url)
    one = await pods.start()
    accepted = await chat(one, session_id="s")
    pods.switch.say("left")

    async def stored() -> bool:
        async with one.core.database.transaction() as tx:
            return bool(await tx.fetch("SELECT 1 FROM operator_reply_chunk"))

    await eventually(stored)
    await pods.kill(one)
    two = await pods.start()
    view = await two.services.replies.get(ANYBODY, accepted.reply_id)
    assert (view.status, view.content) == ("interrupted", "left")
    await pods.aclose()


@pytest.mark.parametrize("watched", [True, False])
async def test_deleting_a_session_ends_its_reply_and_its_clients_on_all_pods(
    shared: Pods, watched: bool
) -> None:
    one, two = await shared.start(), await shared.start()
    here, there = await watch(one if watched else two, "s"), await watch(two, "s")
    accepted = await chat(one, session_id="s")
    shared.switch.say("x")
    await there.until(lambda: bool(there.texts))
    await two.services.sessions.delete(ANYBODY, "s")
    await all_until((here, there), lambda reader: reader.gone_at)
    for reader in (here, there):
        assert reader.events[-1]["event"] == "session.deleted"
    await here.until(lambda: shared.switch.closed == 1)
    with pytest.raises(OperatorError) as gone:
        await one.services.replies.wait(accepted, WITHIN)
    assert gone.value.code is ErrorCode.SESSION_NOT_FOUND


async def test_a_prompts_history_is_bounded_and_regenerating_keeps_both_replies(pods: Pods) -> None:
    pod = await pods.start(history_messages=3, history_chars=16)
    for text in ("first question", "second", "third"):
        accepted = await chat(pod, text, session_id="s")
        pods.switch.say("answer", None)
        await pod.services.replies.wait(accepted)
    assert [p.history for p in pods.switch.prompts[:3]] == [
        [],  # none yet
        [],  # too long: an exchange is sent whole or not at all
        [{"role": "user", "content": "second"}, {"role": "assistant", "content": "answer"}],
    ]
    again = await chat(pod, "", session_id="s", regenerate=accepted.message_id)
    pods.switch.say("another answer", None)
    await pod.services.replies.wait(again)
    assert pods.switch.prompts[-1].message == "third"
    history = await pod.services.history.page(ANYBODY, "s", limit=9, before=None)
    assert [m.content for m in history.messages[-3:]] == ["third", "answer", "another answer"]
    assert history.messages[-1].reply_to == accepted.message_id


async def test_a_caller_bound_to_a_user_sees_only_its_own_sessions(pods: Pods) -> None:
    pod = await pods.start()
    ana, eva = Caller("a", "client", "ana"), Caller("e", "client", "eva")
    accepted = await pod.services.chats.start(ana, Chat(message="x", session_id="s"))
    with pytest.raises(OperatorError) as hidden:
        await pod.services.chats.start(eva, Chat(message="x", session_id="s"))
    assert hidden.value.code is ErrorCode.SESSION_NOT_FOUND
    for attempt in (
        pod.services.history.page(eva, "s", limit=1, before=None),
        pod.services.replies.get(eva, accepted.reply_id),
        pod.services.replies.cancel(eva, accepted.reply_id),
        pod.services.sessions.delete(eva, "s"),
    ):
        with pytest.raises(OperatorError) as hidden:
            await attempt
        assert hidden.value.code.status == 404
    with pytest.raises(OperatorError) as refused:
        await pod.services.chats.start(eva, Chat(message="x", user_id="ana"))
    assert refused.value.code is ErrorCode.FORBIDDEN
    pods.switch.say(None)
    await pod.services.replies.wait(accepted)


async def test_an_end_that_cannot_be_stored_fails_who_waits_and_is_stored_later(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_storage, "PATIENCE", 0.1)
    pod = await pods.start()
    reader = await watch(pod, "s")
    finish, away = pod.core.stores.messages.finish, True

    async def flaky(**fields: Any) -> Any:
        if away:
            raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "it is away")
        return await finish(**fields)

    monkeypatch.setattr(pod.core.stores.messages, "finish", flaky)
    accepted = await chat(pod, session_id="s")
    pods.switch.say("all of it", None)
    with pytest.raises(OperatorError) as failed:
        await pod.services.replies.wait(accepted, WITHIN)
    assert failed.value.code is ErrorCode.DATABASE_UNAVAILABLE
    assert not reader.endings
    away = False
    await reader.until(lambda: reader.endings == {accepted.reply_id: "reply.completed"})
    view = await pod.services.replies.get(ANYBODY, accepted.reply_id)
    assert (view.status, view.content) == ("complete", "all of it")
