"""Arguments of tool calls that come in many pieces."""

from __future__ import annotations

import json

import pytest

from operator_svc.models import Json
from operator_svc.peers.tool_call_pieces import ToolCallPieces
from operator_svc.protocol.text import loads

WORDS = {"text": "f(x) { return [x]; } " * 500, "list": [{}, "}"]}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each text that was decoded while pieces came."""
    sizes: list[int] = []

    def note(data: bytes) -> Json:
        sizes.append(len(data))
        return loads(data)

    monkeypatch.setattr("operator_svc.peers.tool_call_pieces.loads", note)
    return sizes


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("indexed", [True, False])
def test_arguments_are_decoded_only_where_they_may_have_ended(
    indexed: bool, decoded: list[int]
) -> None:
    """By a server that repeats the name of a call with each piece, and then calls it again."""
    gathered, text = ToolCallPieces(), json.dumps(WORDS)
    sent = 0
    for _ in range(2):
        for arguments in pieces(text, 4):
            place = {"index": 0} if indexed else {}
            gathered.add({**place, "function": {"name": "write", "arguments": arguments}})
            sent += 1
    assert [part.arguments for part in gathered.parts()] == [WORDS, WORDS]
    ends = sum(piece.rstrip().endswith("}") for piece in pieces(text, 4))
    assert len(decoded) <= 2 * ends + 1 < sent / 10


@pytest.mark.parametrize("value", [{"a": 1}, [1], "text", 12, True, None, {}])
def test_a_call_whose_arguments_have_ended_is_followed_by_another_of_its_name(value: Json) -> None:
    gathered, text = ToolCallPieces(), f" {json.dumps(value)} \n"
    for _ in range(2):
        gathered.add({"function": {"name": "look", "arguments": text}})
    assert [part.arguments for part in gathered.parts()] == [value, value]
