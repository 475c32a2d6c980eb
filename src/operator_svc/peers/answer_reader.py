"""Reading of answers, as far as all dialects agree: framing, text and reasoning, and the end."""

from __future__ import annotations

from abc import ABC, abstractmethod

from operator_svc.models import Json
from operator_svc.peers.answer_end import FAILURES, finish_reason, is_whole
from operator_svc.peers.chat_types import (
    REPORTED,
    AnswerError,
    CutError,
    Done,
    NoAnswerError,
    Part,
    Reasoning,
    ReportedError,
    Text,
    after_parts,
    is_part,
    json_text,
    label_or_none,
    reported,
)
from operator_svc.peers.failures import PeerRefusedError
from operator_svc.peers.json_size import check_values
from operator_svc.peers.text_pattern import TextPattern
from operator_svc.peers.think_tags import ThinkTags
from operator_svc.peers.usage import token_counts, total_of
from operator_svc.protocol.sse import Decoder, ServerSentEvent
from operator_svc.protocol.text import Storable, is_storable, loads

MAX_EVENT_BYTES = 16 * 2**20
BURST = 3
"""Events in one read from which on they are read together."""
LONG_EVENT = 100
"""Bytes from which on it takes longer to decode one of many events than to compare it."""
REFUSAL = "refusal"
THOUGHT_PARTS = frozenset({"thinking", "reasoning"})


class AnswerReader(ABC):
    """Turns one answer's bytes into parts; ``done`` once a Done is among them.

    Liberal in the envelope and strict in the end: content in an odd form is read, an answer
    that does not say that it ended is a failure. What is known of the end so far is in
    ``ending``.
    """

    def __init__(self, *, think_tags: bool = True) -> None:
        self.done = False
        self.provider: str | None = None
        self.finish_reason: str | None = None
        self._tokens_used: int | None = None
        self._usage: dict[str, int] = {}
        self._decoder = Decoder(MAX_EVENT_BYTES)
        self._pattern = TextPattern()
        self._text = Storable()
        self._reasoning = Storable()
        self._think = ThinkTags() if think_tags else None
        self._answered = False
        self._refused = False
        self._content_type: str | None = None
        self._plain = False
        """True while a piece of text that is storable needs no further look."""

    @property
    def ended(self) -> bool:
        """True once the answer has a finish reason, though more may follow, such as its usage."""
        return self.finish_reason is not None

    @property
    def held(self) -> int:
        """Bytes that are kept of an unfinished event."""
        return self._decoder.held

    def ending(self, *, streamed: bool = True) -> Done:
        """The reply's end, as far as it is known."""
        return Done(
            provider=label_or_none(self.provider),
            finish_reason=REFUSAL if self._refused else self.finish_reason,
            content_type=self._content_type,
            tokens_used=self._tokens_used,
            usage=self._usage,
            streamed=streamed,
        )

    def feed(self, chunk: bytes) -> list[Part]:
        """The parts that ``chunk`` of an event stream completes; nothing is read past the end.

        Raises AnswerError with the parts before the fault, and EventTooLargeError.
        """
        parts: list[Part] = []
        try:
            for piece in self._decoder.divide(chunk):
                if not piece or self.done:
                    continue
                rows = self._decoder.rows(piece)
                if rows is None:
                    self._take_events(self._decoder.feed(piece), parts)
                else:
                    self._take_rows(rows, parts)
        except (AnswerError, RecursionError) as error:
            raise after_parts(error, parts) from None
        return parts

    def plain_text(self, chunk: bytes) -> str | None:
        """The text of ``chunk``, which is read, where it is whole events of plain text that follow
        on text; None where it is anything else, and still to be fed."""
        if not self._plain or self._text.half or not self._decoder.between_events:
            return None
        if (text := self._pattern.text(chunk, self.provider)) is not None:
            return text
        if not (rows := self._decoder.rows(chunk)):
            return None
        text, plain = self._plain_texts(rows)
        return text if plain == len(rows) and is_storable(text) else None

    def _plain_texts(self, rows: list[bytes]) -> tuple[str, int]:
        """The text of events, given their data, up to one that is not plain, and their number."""
        pattern, is_many = self._pattern, len(rows) > 1 and len(rows[0]) >= LONG_EVENT
        text, plain = pattern.texts(rows, self.provider) if is_many else ("", 0)
        if is_many and not plain and (first := self._texts(rows[0], 1)):
            pattern.learn(rows[0], first[0], self.provider)
            text, plain = pattern.texts(rows, self.provider)
        if not plain and (texts := self._texts(b"\n".join(rows), len(rows))):
            text, plain = "".join(texts), len(texts)
            pattern.learn(rows[plain - 1], texts[-1], self.provider)
        return text, plain

    def _take_events(self, events: list[ServerSentEvent], parts: list[Part]) -> None:
        for event in events:
            check_values(event.data)
            if event.event == "error":
                raise self._error_event(event.data)
            self._take(event.data, parts)
            if self.done:
                return

    def _take_rows(self, rows: list[bytes], parts: list[Part]) -> None:
        """Read the data of events, those of a burst that are plain text all at once.

        The last one stays out of it: it is seldom plain where it ends the answer.
        """
        taken, tried = 0, len(rows) < BURST
        while taken < len(rows):
            if self._plain and not tried and taken + 1 < len(rows):
                tried = True
                text, plain = self._plain_texts(rows[taken:-1])
                self._add_text(text, parts)
                taken += plain
            self._take(rows[taken], parts)
            if self.done:
                return
            taken += 1

    def end(self) -> list[Part]:
        """The parts that the stream's end leaves; raises AnswerError where it came too early.

        A last event may lack its blank line; one that lacks more was cut.
        """
        parts: list[Part] = []
        try:
            last = self._decoder.flush()
            if last is not None and is_whole(last.data):
                self._take(last.data, parts)
            if not self.done:
                if not self.ended:
                    raise CutError
                self._finish(parts)
        except (AnswerError, RecursionError) as error:
            raise after_parts(error, parts) from None
        return parts

    def whole(self, body: bytes) -> list[Part]:
        """The parts of an answer that is one JSON document, its text in one; raises AnswerError."""
        parts: list[Part] = []
        try:
            check_values(body)
            self._take_document(body, parts)
            self._finish(parts, streamed=False)
        except (AnswerError, RecursionError) as error:
            raise after_parts(error, parts) from None
        return parts

    def take_refusal(self, refusal: PeerRefusedError) -> None:  # noqa: B027 - most have none
        """Raise NoAnswerError where an HTTP error stands for an end in good order."""

    @abstractmethod
    def _take(self, data: bytes, parts: list[Part]) -> None:
        """Read the data of one event."""

    @abstractmethod
    def _texts(self, lines: bytes, count: int) -> list[str]:
        """The texts of so many events, a line each, up to the first one that is anything else but
        plain text; none where they cannot be read together."""

    @abstractmethod
    def _take_document(self, body: bytes, parts: list[Part]) -> None:
        """Read an answer that is one JSON document."""

    def _finish(self, parts: list[Part], *, streamed: bool = True) -> None:
        """Give out what was held back, and Done; raises NoAnswerError where nothing was said."""
        if thought := self._reasoning.flush():
            parts.append(Reasoning(thought))
        if text := self._text.flush():
            self._emit(text, parts)
        if self._think is not None:
            for part in self._think.flush():
                self._note(part, parts)
        if not self._answered:
            raise NoAnswerError("its answer has no text")
        parts.append(self.ending(streamed=streamed))
        self.done = True

    def _error_event(self, data: bytes) -> ReportedError:
        """The failure that an event named ``error`` reports, whatever its data are."""
        try:
            error = loads(data)
        except ValueError:
            return ReportedError(REPORTED)
        if isinstance(error, dict):
            self.provider = label_or_none(error.get("provider")) or self.provider
            error = error.get("error") or error
        return reported(error)

    # Content, in the forms that it comes in.

    def _add_content(self, content: Json, parts: list[Part]) -> None:
        """Text, a list of parts, or any other JSON, which is answered as its JSON text."""
        if isinstance(content, str):
            self._add_text(content, parts)
        elif isinstance(content, list) and all(map(is_part, content)):
            for item in content:
                self._add_item(item, parts)
        elif content or content in (0, False):
            alone = not self._answered
            self._add_text(json_text(content), parts)
            if alone:
                self._content_type = "json"
                self._plain = False

    def _add_item(self, item: dict[str, Json], parts: list[Part]) -> None:
        """One part of a content that is a list; pictures and the like are left out."""
        kind = item["type"]
        if kind in THOUGHT_PARTS:
            thought = next((item[n] for n in (kind, "text", "content") if n in item), None)
            self._add_reasoning(thought, parts)
        elif kind == REFUSAL:
            self._add_refusal(item.get(REFUSAL), parts)
        else:
            text = item.get("text")
            self._add_text(text if isinstance(text, str) else "", parts)

    def _add_text(self, content: str, parts: list[Part]) -> None:
        if content := self._text.feed(content):
            self._content_type = None
            self._emit(content, parts)

    def _add_refusal(self, content: Json, parts: list[Part]) -> None:
        """A refusal is the reply's text, and its finish reason."""
        if isinstance(content, str) and content:
            self._add_text(content, parts)
            self._refused = True

    def _add_reasoning(self, content: Json, parts: list[Part]) -> None:
        if isinstance(content, str):
            if content := self._reasoning.feed(content):
                parts.append(Reasoning(content))
        elif isinstance(content, list):
            for item in content:
                self._add_reasoning(item.get("text") if isinstance(item, dict) else item, parts)

    def _note_finish(self, value: Json) -> None:
        """Note a finish reason, if it is one; raises ReportedError for those of failures."""
        if isinstance(value, str) and value.lower() in FAILURES:
            raise ReportedError(REPORTED, f"finish_reason {value}")
        self.finish_reason = finish_reason(value) or self.finish_reason

    def _add_usage(self, usage: Json) -> None:
        if isinstance(usage, dict):
            self._usage |= token_counts(usage)
            self._tokens_used = total_of(self._usage)

    def _emit(self, content: str, parts: list[Part]) -> None:
        """Give out storable text, or the reasoning that it begins with."""
        if self._think is None:
            self._note(Text(content), parts)
        else:
            for part in self._think.feed(content):
                self._note(part, parts)
            if self._think.passed:
                self._think = None
        self._plain = self._answered and self._think is None

    def _note(self, part: Part, parts: list[Part]) -> None:
        parts.append(part)
        if isinstance(part, Text) and not part.content.isspace():
            self._answered = True
