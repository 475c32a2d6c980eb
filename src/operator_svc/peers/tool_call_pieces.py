"""Tool calls of OpenAI's protocol, put together from the pieces in which they are streamed."""

from __future__ import annotations

from typing import NamedTuple

from operator_svc.models import MAX_REPLY_TOOL_CALLS, Json
from operator_svc.peers.chat_types import (
    AnswerError,
    AnswerTooLargeError,
    ToolCallPart,
    json_text,
    parsed_arguments,
    text_or_none,
)
from operator_svc.protocol.text import loads, storable_json

MAX_CHARS = 4 * 2**20
"""Characters of all arguments of one answer; a record keeps less than that of each call."""


_ENDS = {"{": "}", "[": "]", '"': '"'}
"""The first and the last character of a JSON value that is not short."""


class _Piece(NamedTuple):
    id: str
    name: str
    arguments: str


class _OpenCall:
    def __init__(self, identity: str) -> None:
        self.id = identity
        self.name = ""
        self._arguments: list[str] = []

    def append(self, arguments: str) -> None:
        """Add a piece to the arguments, which may have any number of them."""
        if arguments:
            self._arguments.append(arguments)

    @property
    def arguments(self) -> str:
        """The arguments so far."""
        if len(self._arguments) > 1:
            self._arguments = ["".join(self._arguments)]
        return self._arguments[0] if self._arguments else ""

    def has_arguments(self) -> bool:
        return bool(self._arguments)

    def is_whole(self) -> bool:
        """True where the arguments so far are JSON, so that no more of them can come. They are
        decoded only where they may be: it is asked of each piece."""
        if not self._arguments:
            return False
        last = self._arguments[-1].rstrip()
        end = _ENDS.get(self._arguments[0][0])
        if last and end is not None and not last.endswith(end):
            return False
        try:
            loads(self.arguments.encode("utf-8", "surrogatepass"))
        except ValueError:
            return False
        return True


class ToolCallPieces:
    """Gathers the tool calls of one answer, in the order in which they begin.

    A piece belongs to the call of its id, else to that of its index, else to the last one.
    Servers differ: some give no index, or the same one to all calls, some no id, some another
    id with each piece, and some repeat the name with each piece. So a piece that names no known
    id begins a call only if it has a name, and only where that call cannot be the open one.
    Calls beyond those that are kept of a reply are passed over (``truncated``).
    """

    def __init__(self) -> None:
        self._calls: list[_OpenCall] = []
        self._by_id: dict[str, _OpenCall] = {}
        self._by_index: dict[int, _OpenCall] = {}
        self._chars = 0
        self.truncated = False

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, entry: Json, *, whole: bool = False) -> None:
        """Take one entry of ``tool_calls``, which is all of a call where ``whole``.

        Raises AnswerError, AnswerTooLargeError.
        """
        if not isinstance(entry, dict):
            return
        index = entry.get("index")
        index = index if isinstance(index, int) and not isinstance(index, bool) else None
        piece = _piece(entry)
        call = self._begin(piece.id) if whole else self._call_of(piece, index)
        if call is None:
            self.truncated = True
            return
        if index is not None:
            self._by_index[index] = call
        if piece.id and not call.id:
            call.id = piece.id
            self._by_id[piece.id] = call
        if piece.name != call.name:
            call.name += piece.name
        self._chars += len(piece.arguments)
        if self._chars > MAX_CHARS:
            raise AnswerTooLargeError("its tool calls are too large")
        call.append(piece.arguments)

    def parts(self) -> list[ToolCallPart]:
        """The calls, as they are now; raises AnswerError where one has no name."""
        return [_part(call) for call in self._calls]

    def _call_of(self, piece: _Piece, index: int | None) -> _OpenCall | None:
        if known := self._by_id.get(piece.id):
            return known
        # Once calls are passed over, the last one is no more the one that is open.
        last = self._calls[-1] if self._calls and not self.truncated else None
        call = last if index is None else self._by_index.get(index)
        if call is None or _begins(piece, call, indexed=index is not None):
            return self._begin(piece.id)
        return call

    def _begin(self, identity: str) -> _OpenCall | None:
        if len(self._calls) >= MAX_REPLY_TOOL_CALLS:
            return None
        call = _OpenCall(identity)
        self._calls.append(call)
        if identity:
            self._by_id[identity] = call
        return call


def _begins(piece: _Piece, call: _OpenCall, *, indexed: bool) -> bool:
    """True if ``piece``, without a known id, does not continue ``call``."""
    if not piece.name or not call.name:
        return False
    if piece.id and call.id:
        return True
    if piece.name != call.name:  # which an index makes the rest of a name that was cut
        return not indexed or call.has_arguments()
    return bool(piece.arguments) and call.is_whole()


def _piece(entry: dict[str, Json]) -> _Piece:
    function = entry.get("function")
    fields = function if isinstance(function, dict) else entry
    arguments = fields.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        arguments = json_text(arguments)  # Ollama sends them decoded
    return _Piece(
        text_or_none(entry.get("id")) or "", text_or_none(fields.get("name")) or "", arguments or ""
    )


def _part(call: _OpenCall) -> ToolCallPart:
    raw = storable_json({"id": call.id, "name": call.name, "arguments": call.arguments})
    if not raw["name"]:
        raise AnswerError("a tool call of its answer has no name")
    arguments, broken = parsed_arguments(call.arguments)
    return ToolCallPart(
        name=raw["name"],
        arguments=arguments,
        broken_arguments=broken,
        id=raw["id"] or None,
        raw=raw,
    )
