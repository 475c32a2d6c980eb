"""Chats with Switch: both of its answers, all of its traps, and every way in which it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
import structlog

from operator_svc import tracing
from operator_svc.devpeers import Script, SwitchStandin
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers import chat_stream
from operator_svc.peers.breaker import FAILURES_TO_OPEN, CircuitOpenError
from operator_svc.peers.chat_types import ChatError
from operator_svc.peers.switch import Switch, Text, ToolCallPart
from tests.fakes.chats import TOKEN, Answer, ask, prompt, switch_at
from tests.fakes.eventually import eventually

FAST = 2000.0
DIALECTS = ("vx11", "openai")
IMPATIENT = {"switch_first_byte_timeout": 0.8, "switch_idle_timeout": 0.8}


@pytest.fixture
async def standin() -> AsyncIterator[SwitchStandin]:
    standin = SwitchStandin(TOKEN, Script(rate=FAST))
    await standin.start()
    yield standin
    await standin.aclose()


@pytest.fixture
async def switch(standin: SwitchStandin) -> AsyncIterator[Switch]:
    async with switch_at(standin.url) as switch:
        yield switch


@pytest.fixture
async def impatient(standin: SwitchStandin) -> AsyncIterator[Switch]:
    async with switch_at(standin.url, **IMPATIENT) as switch:
        yield switch


async def test_a_stream_comes_token_by_token(standin: SwitchStandin, switch: Switch) -> None:
    standin.script = Script(rate=50, tokens=10)
    answer = await ask(switch, "hello")
    assert answer.text == "[stand-in] You said: hello the quick brown fox jumps over"
    assert len(answer.reads) >= 8, "the tokens did not come as they were sent"
    assert answer.done.streamed
    assert answer.done.provider == "stand-in"
    assert answer.done.decision == "fallback"
    assert answer.done.tokens_used == 10


async def test_todays_switch_answers_json(standin: SwitchStandin, switch: Switch) -> None:
    standin.script = Script(mode="json")
    answer = await ask(switch, "hello")
    assert answer.text == "[stand-in] You said: hello"
    assert len(answer.reads) == 1
    assert not answer.done.streamed
    assert answer.done.latency_ms == 1
    assert answer.done.reasoning == "a stand-in answered"


async def test_what_is_sent(standin: SwitchStandin, switch: Switch) -> None:
    history = [{"role": "user", "content": "before"}, {"role": "assistant", "content": "yes"}]
    asked = prompt(
        "the message",
        history=history,
        context_summary="so far",
        provider_hint="local",
        metadata={"task_type": "code", "max_tokens": 7, "require_streaming": False, "x": [1]},
    )
    await ask(switch, asked)
    assert standin.recent[-1] == {
        "messages": [{"role": "user", "content": "the message"}],
        "provider_hint": "local",
        "stream": True,
        "metadata": {
            "source": "operator",
            "task_type": "code",
            "max_tokens": 7,
            "require_streaming": True,
            "context_summary": "so far",
            "history": history,
            "session_id": "s-1",
            "user_id": "u-1",
            "x": [1],
        },
    }
    await ask(switch, "short")
    assert standin.recent[-1]["metadata"] == {
        "source": "operator",
        "task_type": "chat",
        "max_tokens": 4096,
        "require_streaming": True,
        "session_id": "s-1",
        "user_id": "u-1",
    }


async def test_reasoning_and_tool_calls(standin: SwitchStandin, switch: Switch) -> None:
    answer = await ask(switch, "[[reasoning]]")
    assert answer.reasoning == "I am a stand-in and think"
    answer = await ask(switch, "[[tool_call]]")
    (call,) = [part for part in answer.parts if isinstance(part, ToolCallPart)]
    assert call.name == "standin_tool"
    assert call.id == "call-1"
    assert call.arguments == {"query": "[[tool_call]]"}
    assert answer.done.streamed


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("nul", "a\ufffdb"),
        ("surrogates", " 😀 \ufffd!\ufffd"),
        ("comments", ""),
        ("sentinel", ""),
        ("dribble", ""),
        ("think", ""),
        ("parts", ""),
        ("empty_data", ""),
        ("plain_type", ""),
        ("no_blank", ""),
        ("two_tool_calls", ""),
        ("broken_arguments", ""),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_oddities_that_are_no_failures(
    standin: SwitchStandin, dialect: Any, mode: Any, text: str
) -> None:
    standin.script = Script(mode=mode, rate=FAST)
    async with switch_at(standin.url, switch_dialect=dialect) as switch:
        answer = await ask(switch, "señor 😀")
    assert answer.text == "[stand-in] You said: señor 😀" + text
    assert answer.done.streamed
    assert answer.reasoning.strip() == ("I am a stand-in and think" if mode == "think" else "")
    calls = [part for part in answer.parts if isinstance(part, ToolCallPart)]
    assert len(calls) == {"two_tool_calls": 2, "broken_arguments": 1}.get(mode, 0)
    assert [c.broken_arguments for c in calls[:1]] == [mode == "broken_arguments"] * len(calls[:1])


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_content_that_is_json_is_answered_as_its_text(
    standin: SwitchStandin, dialect: Any
) -> None:
    standin.script = Script(mode="non_string")
    async with switch_at(standin.url, switch_dialect=dialect) as switch:
        answer = await ask(switch, "hello")
    assert answer.text == '{"text":"[stand-in] hello"}'
    assert answer.done.content_type == "json"


async def test_an_engine_that_switch_can_not_reach_fails_its_own_chats_only(
    switch: Switch,
) -> None:
    for _ in range(FAILURES_TO_OPEN + 1):
        with pytest.raises(ChatError) as caught:
            await ask(switch, prompt("hello", provider_hint="madre"))
        assert caught.value.code == ErrorCode.SWITCH_ERROR
        assert caught.value.ending.provider == "stand-in"
    assert (await ask(switch, "hello")).text


FAILURES = {
    "429": ErrorCode.SWITCH_BUSY,
    "length": ErrorCode.NO_ANSWER,
    "filtered": ErrorCode.CONTENT_FILTERED,
    "named_error": ErrorCode.SWITCH_ERROR,
    "500": ErrorCode.SWITCH_ERROR,
    "503": ErrorCode.SWITCH_ERROR,
    "400": ErrorCode.SWITCH_ERROR,
    "redirect": ErrorCode.SWITCH_ERROR,
    "error": ErrorCode.SWITCH_ERROR,
    "partial": ErrorCode.SWITCH_ERROR,
    "no_text": ErrorCode.NO_ANSWER,
    "list": ErrorCode.SWITCH_ERROR,
    "html": ErrorCode.SWITCH_ERROR,
    "broken_json": ErrorCode.SWITCH_ERROR,
    "error_event": ErrorCode.SWITCH_ERROR,
    "broken_event": ErrorCode.SWITCH_ERROR,
    "empty_stream": ErrorCode.NO_ANSWER,
    "cut": ErrorCode.SWITCH_ERROR,
    "cut_json": ErrorCode.SWITCH_ERROR,
    "no_done": ErrorCode.SWITCH_ERROR,
    "stall_first": ErrorCode.SWITCH_TIMEOUT,
    "stall_head": ErrorCode.SWITCH_TIMEOUT,
    "stall": ErrorCode.SWITCH_TIMEOUT,
}
WITH_TEXT = {"error_event", "named_error", "broken_event", "cut", "no_done", "stall"}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("mode", FAILURES)
async def test_each_failure_has_its_code_and_the_next_chat_works(
    standin: SwitchStandin, dialect: Any, mode: Any
) -> None:
    limits = IMPATIENT if mode.startswith("stall") else {}
    async with switch_at(standin.url, switch_dialect=dialect, **limits) as switch:
        await _fails_and_recovers(standin, switch, mode)


async def _fails_and_recovers(standin: SwitchStandin, switch: Switch, mode: Any) -> None:
    secret_words = "words that only the user said"
    standin.script = Script(mode=mode, rate=FAST)
    answer = Answer()
    with structlog.testing.capture_logs() as logged, pytest.raises(OperatorError) as caught:
        await ask(switch, secret_words, answer)
    assert caught.value.code == FAILURES[mode]
    if mode in WITH_TEXT:
        whole = f"[stand-in] You said: {secret_words}"
        assert answer.text == (whole if mode == "no_done" else "[stand-in] You said:")
    else:
        assert answer.text == ""
    # Switch's own words, the user's and our token are for nobody to see.
    told = f"{caught.value} {caught.value.extra} {caught.value.headers}"
    for hidden in ("stand-in", secret_words, "Hermes", TOKEN, "told to"):
        assert hidden not in told
    seen = repr([entry for entry in logged if entry["log_level"] != "debug"])
    assert logged
    assert secret_words not in seen
    assert TOKEN not in seen
    calls = standin.total.calls
    assert calls == 1, "the call was made more than once"

    standin.script = Script(rate=FAST)
    assert (await ask(switch, "again")).text == "[stand-in] You said: again"


async def test_what_switch_says_of_its_failure_is_in_the_log(
    standin: SwitchStandin, switch: Switch
) -> None:
    with structlog.testing.capture_logs() as logged, pytest.raises(OperatorError):
        await ask(switch, "[[partial]]")
    assert "Error en Hermes" in repr(logged)
    with structlog.testing.capture_logs() as logged, pytest.raises(OperatorError):
        await ask(switch, "[[500]]")
    assert "told to fail" in repr(logged)


async def test_nobody_listens() -> None:
    async with switch_at("http://127.0.0.1:1") as switch:
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "hello")
    assert caught.value.code == ErrorCode.SWITCH_UNAVAILABLE
    assert caught.value.retry_after


async def test_a_wrong_token_is_an_error_of_switch(standin: SwitchStandin) -> None:
    standin.token = "another"
    async with switch_at(standin.url) as switch:
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "hello")
        assert caught.value.code == ErrorCode.SWITCH_ERROR
        assert "auth_required" not in str(caught.value)


async def test_ten_megabytes_are_read_and_more_than_the_bound_is_not(
    standin: SwitchStandin, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin.script = Script(mode="big", rate=0)
    assert len((await ask(switch, "hello")).text) == 10_000_000
    standin.script = Script(mode="big_event", size=1_000_000)
    assert len((await ask(switch, "hello")).text) == 1_000_000
    standin.script = Script(mode="big_event", size=17 * 2**20)
    with pytest.raises(OperatorError) as caught:
        await ask(switch, "hello")
    assert caught.value.code == ErrorCode.REPLY_TOO_LARGE
    monkeypatch.setattr(chat_stream, "MAX_ANSWER_BYTES", 1000)
    standin.script = Script(mode="json", tokens=1000)
    with pytest.raises(OperatorError) as caught:
        await ask(switch, "hello")
    assert caught.value.code == ErrorCode.REPLY_TOO_LARGE


async def test_the_total_time_is_bounded(standin: SwitchStandin) -> None:
    standin.script = Script(mode="endless", rate=100)
    async with switch_at(standin.url, switch_total_timeout=0.5) as switch:
        started = time.monotonic()
        answer = Answer()
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "hello", answer)
    assert caught.value.code == ErrorCode.SWITCH_TIMEOUT
    assert 0.4 < time.monotonic() - started < 4
    assert len(answer.text) > 20


async def test_a_reader_that_takes_its_time_is_not_switchs_silence(
    standin: SwitchStandin, impatient: Switch
) -> None:
    standin.script = Script(rate=FAST, tokens=5)
    text = ""
    async with aclosing(impatient.chat(prompt("hello"))) as reads:
        async for read in reads:
            text += "".join(part.content for part in read if isinstance(part, Text))
            await asyncio.sleep(0.9)  # longer than the idle timeout
    assert text == "[stand-in] You said: hello the"


async def test_slow_tokens_are_no_silence(standin: SwitchStandin, impatient: Switch) -> None:
    standin.script = Script(rate=4, tokens=6)  # longer in all than the idle timeout
    assert (await ask(impatient, "hello")).done.tokens_used == 6


async def test_leaving_in_the_middle_closes_the_call(
    standin: SwitchStandin, switch: Switch
) -> None:
    standin.script = Script(mode="endless", rate=200)
    async with aclosing(switch.chat(prompt("hello"))) as reads:
        await anext(reads)
    await eventually(lambda: standin.total.aborted == 1)
    assert standin.total.running == 0


@pytest.mark.parametrize("mode", ["stall_first", "stall_head", "endless"])
async def test_cancelling_closes_the_call(
    standin: SwitchStandin, switch: Switch, mode: Any
) -> None:
    standin.script = Script(mode=mode, rate=200)
    task = asyncio.create_task(ask(switch, "hello"))
    await eventually(lambda: standin.total.running == 1)
    await asyncio.sleep(0.05)  # the answer is being read, or waited for
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: standin.total.aborted == 1)
    assert (await ask(switch, "[[ok]] again")).text.endswith("again")


async def test_the_circuit_opens_after_failures_in_a_row(standin: SwitchStandin) -> None:
    now = 0.0
    async with switch_at(standin.url, lambda: now) as switch:
        standin.script = Script(mode="500")
        for _ in range(FAILURES_TO_OPEN - 1):
            with pytest.raises(OperatorError) as caught:
                await ask(switch, "hello")
            assert caught.value.code == ErrorCode.SWITCH_ERROR
        standin.script = Script(rate=FAST)
        await ask(switch, "a good one starts the count anew")
        standin.script = Script(mode="500")
        for _ in range(FAILURES_TO_OPEN):
            with pytest.raises(OperatorError) as caught:
                await ask(switch, "hello")
        calls = standin.total.calls
        with pytest.raises(ChatError) as opened:
            await ask(switch, "hello")
        assert isinstance(opened.value.__cause__, CircuitOpenError)
        assert opened.value.code == ErrorCode.SWITCH_UNAVAILABLE
        assert opened.value.retry_after
        assert standin.total.calls == calls
        assert (await switch.context()).status == "ok", "tuning must still be possible"

        now += 60
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "one may try, and fails")
        assert caught.value.code == ErrorCode.SWITCH_ERROR
        with pytest.raises(ChatError) as opened:
            await ask(switch, "hello")
        assert isinstance(opened.value.__cause__, CircuitOpenError)
        now += 60
        standin.script = Script(rate=FAST)
        await ask(switch, "one may try, and it works")
        await ask(switch, "so may all")


async def test_a_trying_chat_lets_others_in_with_its_first_answer(
    standin: SwitchStandin,
) -> None:
    now = 0.0
    async with switch_at(standin.url, lambda: now) as switch:
        standin.script = Script(mode="500")
        for _ in range(FAILURES_TO_OPEN):
            with pytest.raises(OperatorError):
                await ask(switch, "hello")
        now += 60
        standin.script = Script(mode="stall_first")
        waiting = asyncio.create_task(ask(switch, "tries"))
        await eventually(lambda: standin.total.running == 1)
        with pytest.raises(ChatError) as opened:
            await ask(switch, "one at a time")
        assert isinstance(opened.value.__cause__, CircuitOpenError)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        standin.script = Script(mode="endless", rate=100)
        async with aclosing(switch.chat(prompt("the next may try"))) as reads:
            await anext(reads)
            standin.script = Script(rate=FAST)
            await ask(switch, "while the first still streams")


async def test_a_refusal_of_one_message_does_not_open_the_circuit(
    standin: SwitchStandin, switch: Switch
) -> None:
    standin.script = Script(mode="400")
    for _ in range(FAILURES_TO_OPEN + 2):
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "hello")
        assert not isinstance(caught.value.__cause__, CircuitOpenError)


async def test_trace_headers_are_sent_with_every_call(
    standin: SwitchStandin, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def inject(headers: dict[str, str]) -> None:
        headers["traceparent"] = "00-abc"
        seen.append("asked")

    monkeypatch.setattr(tracing, "inject", inject)
    await ask(switch, "hello")
    await switch.context()
    assert len(seen) == 2
    assert standin.last_headers["traceparent"] == "00-abc"
    assert standin.last_headers["X-VX11-Token"] == TOKEN


async def test_many_at_once_do_not_mix(standin: SwitchStandin, switch: Switch) -> None:
    standin.script = Script(rate=200, tokens=12)
    answers = await asyncio.gather(*(ask(switch, f"number {n}!") for n in range(200)))
    for number, answer in enumerate(answers):
        assert answer.text.startswith(f"[stand-in] You said: number {number}! the")
    assert standin.total.max_running > 20
    stats = msgspec.convert(standin.stats()["by_message"], dict[str, Any], from_attributes=True)
    assert len(stats) == 200
