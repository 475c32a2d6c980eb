"""Chats that Switch fails: their codes, the log, and the circuit breaker."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
import structlog

from operator_svc.devpeers import Script, SwitchStandin
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.breaker import FAILURES_TO_OPEN, CircuitOpenError
from operator_svc.peers.chat_types import ChatError
from operator_svc.peers.switch import Switch
from tests.fakes.chats import TOKEN, Answer, ask, prompt, switch_at
from tests.fakes.eventually import eventually
from tests.peers.conftest import DIALECTS, FAST, IMPATIENT


async def test_engine_that_switch_cannot_reach_fails_its_own_chats_only(
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


async def test_switch_that_is_not_there_is_unavailable() -> None:
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
