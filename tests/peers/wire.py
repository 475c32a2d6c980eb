"""Answers of Switch on the wire, and a chat that fails."""

from __future__ import annotations

from typing import Any

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from tests.fakes.chats import Answer, ask, switch_at

TOKENS = "".join(
    f'data: {{"type":"token","content":"{word}"}}\r\n\r\n' for word in ["Señor ", "😀", " ok"]
).encode()

DONE = b'data: {"type":"done","provider":"p","decision":"local","latency_ms":12}\n\n'

OK = b'{"status": "ok", "reply": "fine", "provider": "p"}'


async def fails(url: str, code: ErrorCode, **settings: Any) -> tuple[OperatorError, str]:
    """Ask once; the error, which has ``code``, and the text before it."""
    answer = Answer()
    async with switch_at(url, **settings) as switch:
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "hello", answer)
    assert caught.value.code == code
    return caught.value, answer.text
