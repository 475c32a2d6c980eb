"""Chats with Switch: what is sent, what comes back, and who may wait for how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from operator_svc import tracing
from operator_svc.background import LARGE
from operator_svc.devpeers import Script, SwitchStandin
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers import answer_body
from operator_svc.peers.answer_reader import AnswerReader
from operator_svc.peers.chat_types import Part
from operator_svc.peers.switch import Switch, Text, ToolCallPart
from tests.fakes.chats import TOKEN, Answer, ask, prompt, switch_at
from tests.fakes.eventually import eventually
from tests.fakes.threads import Threads
from tests.peers.conftest import DIALECTS, FAST


async def test_a_stream_comes_token_by_token(standin: SwitchStandin, switch: Switch) -> None:
    standin.script = Script(rate=12, tokens=10)
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
    monkeypatch.setattr(answer_body, "MAX_ANSWER_BYTES", 1000)
    standin.script = Script(mode="json", tokens=1000)
    with pytest.raises(OperatorError) as caught:
        await ask(switch, "hello")
    assert caught.value.code == ErrorCode.REPLY_TOO_LARGE


@pytest.mark.parametrize(
    "script", [Script(mode="big_event", size=1_000_000), Script(mode="json", tokens=20_000)]
)
async def test_what_is_large_is_not_read_on_the_event_loop(
    standin: SwitchStandin, switch: Switch, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads()

    def noting(work: Callable[[AnswerReader, bytes], list[Part]]) -> Callable[..., list[Part]]:
        def noted(reader: AnswerReader, data: bytes) -> list[Part]:
            if reader.held + len(data) > LARGE:  # an end that comes by itself is small
                threads.note()
            return work(reader, data)

        return noted

    monkeypatch.setattr(AnswerReader, "feed", noting(AnswerReader.feed))
    monkeypatch.setattr(AnswerReader, "whole", noting(AnswerReader.whole))
    standin.script = script
    await ask(switch, "hello")
    assert threads.others


async def test_the_total_time_is_bounded(standin: SwitchStandin) -> None:
    standin.script = Script(mode="endless", rate=100)
    async with switch_at(standin.url, switch_total_timeout=0.5) as switch:
        started = time.monotonic()
        answer = Answer()
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "hello", answer)
    assert caught.value.code == ErrorCode.SWITCH_TIMEOUT
    assert 0.4 < time.monotonic() - started < 10
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
