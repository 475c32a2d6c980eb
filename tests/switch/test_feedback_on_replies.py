"""Feedback on replies: one for each, of the engine that wrote it, by those who may see it."""

from __future__ import annotations

import asyncio

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ReplyStatus
from operator_svc.protocol.switch import FeedbackBody
from operator_svc.stores.message_rows import Feedback
from tests.fakes.eventually import eventually
from tests.fakes.records import ANYBODY, FakeSwitch, Pod
from tests.fakes.switch_faults import refused
from tests.switch.forwarding import give, told


async def test_finished_reply_gives_feedback_without_an_event_of_its_own(
    pod: Pod, switch: FakeSwitch
) -> None:
    started = await pod.chat()
    ended = await pod.messages.finish(
        session_id="s-1", reply_id=started.reply_id, begun_at=started.ts, pod_id="writer",
        status=ReplyStatus.FAILED, content="", metadata={},
        feedback=Feedback("hermes", False, 12, 3, "switch_error"),
    )  # fmt: skip
    assert ended is not None
    assert [event.event for event in await pod.log()] == ["reply.failed"]
    await pod.outbox.forward()
    assert switch.recorded == [("hermes", False, 12, 3)]


async def ended(pod: Pod, session_id: str = "s-1", user_id: str = "ann") -> int:
    """A session whose reply has ended, by the engine ``hermes``; the reply's id."""
    started = await pod.chat(session_id, user_id)
    await pod.messages.finish(
        session_id=session_id, reply_id=started.reply_id, begun_at=started.ts, pod_id="writer",
        status=ReplyStatus.COMPLETE, content="hi", metadata={"provider": "hermes"},
        feedback=Feedback("hermes", True, 7, 3, None, forward=False),
    )  # fmt: skip
    return started.reply_id


async def test_second_feedback_on_a_reply_replaces_the_first(pod: Pod, switch: FakeSwitch) -> None:
    reply_id = await ended(pod)
    first = await give(pod, "hermes", 1, message_id=reply_id)
    second = await give(pod, "hermes", 2, message_id=reply_id, success=False, error_message="no")
    assert (second.id, second.created_at, second.tokens_used) == (first.id, first.created_at, 2)
    assert [event.data["tokens_used"] for event in (await pod.log())[1:]] == [1, 2]
    (stats,) = await pod.feedback_hours.engines(3600, 10)
    assert (stats.calls, stats.successes, stats.tokens) == (2, 1, 5), "the reply's own counts too"
    await pod.outbox.forward()
    assert switch.recorded == [("hermes", False, 10, 2)], "Switch is told what is meant now"


async def test_switch_is_not_told_twice_of_one_reply(pod: Pod, switch: FakeSwitch) -> None:
    reply_id = await ended(pod)
    await give(pod, "hermes", 1, message_id=reply_id)
    await pod.outbox.forward()
    answer = await give(pod, "hermes", 2, message_id=reply_id)
    assert answer.forwarded_at is not None
    assert (await pod.log())[-1].data["forwarded_at"] is not None
    await pod.outbox.forward()
    assert told(switch, "hermes") == [1]


async def test_feedback_that_is_replaced_while_it_is_forwarded_counts_as_told(
    local: Pod, switch: FakeSwitch
) -> None:
    reply_id = await ended(local)
    await give(local, "hermes", 1, message_id=reply_id)
    switch.gate.clear()
    forwarding = asyncio.ensure_future(local.outbox.forward())
    await eventually(lambda: switch.calls)
    await give(local, "hermes", 2, message_id=reply_id)
    switch.gate.set()
    await forwarding
    await local.outbox.forward()
    assert told(switch, "hermes") == [1]


async def test_feedback_that_switch_refused_is_due_again_once_it_is_replaced(
    pod: Pod, switch: FakeSwitch
) -> None:
    reply_id = await ended(pod)
    await give(pod, "hermes", 1, message_id=reply_id)
    switch.faults["record_result"] = [refused(422)]
    await pod.outbox.forward()
    await give(pod, "hermes", 2, message_id=reply_id)
    await pod.outbox.forward()
    assert told(switch, "hermes") == [2]


async def test_feedback_on_one_reply_at_once_is_one_row(pod: Pod) -> None:
    reply_id = await ended(pod)
    answers = await asyncio.gather(
        *(give(pod, "hermes", n, message_id=reply_id) for n in range(12))
    )
    assert len({answer.id for answer in answers}) == 1
    events = (await pod.log())[1:]
    assert sorted(event.data["tokens_used"] for event in events) == list(range(12))
    (stats,) = await pod.feedback_hours.engines(3600, 10)
    assert (stats.calls, stats.tokens) == (2, 3 + events[-1].data["tokens_used"])


async def test_feedback_counts_for_the_engine_that_wrote_the_reply(local: Pod) -> None:
    reply_id = await ended(local)
    assert (await give(local, "rival", message_id=reply_id)).engine == "hermes"


ANN, BOB = Caller("a", "client", "ann"), Caller("b", "client", "bob")
GATEWAY = Caller("g", "client", None)
BOUND_OPERATOR = Caller("o", "operator", "ann")
CASES: dict[str, tuple[Caller, str | None, str | None, ErrorCode | None]] = {
    "of its own session": (ANN, "s-1", "ended", None),
    "of its own session, by its reply alone": (ANN, None, "ended", None),
    "of another user": (BOB, "s-1", "ended", ErrorCode.MESSAGE_NOT_FOUND),
    "of another user, by its reply alone": (BOB, None, "ended", ErrorCode.MESSAGE_NOT_FOUND),
    "of another session": (ANN, "s-2", "ended", ErrorCode.MESSAGE_NOT_FOUND),
    "of no such message": (ANN, None, "nothing", ErrorCode.MESSAGE_NOT_FOUND),
    "of a message that is no reply": (ANN, None, "question", ErrorCode.VALIDATION_ERROR),
    "of a reply of an unknown engine": (ANN, None, "nobody's", ErrorCode.VALIDATION_ERROR),
    "of a running reply": (ANN, None, "running", ErrorCode.CONFLICT),
    "without a reply": (ANN, None, None, ErrorCode.FORBIDDEN),
    "of a session without a reply": (ANN, "s-1", None, ErrorCode.FORBIDDEN),
    "by a token of no user": (GATEWAY, "s-1", "ended", None),
    "by a token of no user without a session": (GATEWAY, None, "ended", ErrorCode.FORBIDDEN),
    "by the operator": (ANYBODY, None, "ended", None),
    "by the operator without a reply": (ANYBODY, None, None, None),
    "by the operator of a session": (ANYBODY, "s-1", None, None),
    "by the operator of no session": (ANYBODY, "nowhere", None, ErrorCode.SESSION_NOT_FOUND),
    "by a bound operator without a reply": (BOUND_OPERATOR, None, None, None),
    "by a bound operator of others": (BOUND_OPERATOR, None, "others", ErrorCode.MESSAGE_NOT_FOUND),
}


async def test_feedback_is_given_on_replies_that_the_caller_may_see(local: Pod) -> None:
    running = await local.chat("s-2", "ann")
    nobody = await local.chat("s-4", "ann")
    await local.messages.finish(
        session_id="s-4", reply_id=nobody.reply_id, begun_at=nobody.ts, pod_id="writer",
        status=ReplyStatus.FAILED, content="", metadata={}, feedback=None,
    )  # fmt: skip
    messages = {
        "ended": await ended(local), "others": await ended(local, "s-3", "bob"), "nothing": 999,
        "question": running.message_id, "running": running.reply_id, "nobody's": nobody.reply_id,
    }  # fmt: skip
    found: dict[str, ErrorCode | None] = {}
    for name, (caller, session_id, message, _) in CASES.items():
        message_id = None if message is None else messages[message]
        body = FeedbackBody(engine="e", success=True, session_id=session_id, message_id=message_id)
        found[name] = None
        try:
            await local.feedback.record(caller, body)
        except OperatorError as error:
            found[name] = error.code
    assert found == {name: case[3] for name, case in CASES.items()}
