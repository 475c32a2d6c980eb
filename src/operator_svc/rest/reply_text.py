"""The text of a reply as one client is sent it, at its own pace."""

from __future__ import annotations

from typing import Protocol

from operator_svc.services.chat.reply_follower import EndSink
from operator_svc.services.live.reply_stream import Kind, ReplyStream
from operator_svc.services.live.send_queue import SendQueue

SHORT = 256
"""Code points of a piece whose events fit into any send queue, so that it need not wait."""


class TextAnswer(Protocol):
    """The answer that the text of a reply is sent in."""

    send_queue: SendQueue

    @property
    def stored_only(self) -> bool:
        """True to send text only once it is stored."""

    def ready(self) -> bool:
        """True where a piece can go straight to the client."""

    def show(self, kind: Kind, content: str) -> None:
        """Send a short piece."""

    async def show_long(self, kind: Kind, content: str) -> None:
        """Send a piece of any length at the client's pace; raises ConnectionError if it is gone."""

    def wake(self) -> None:
        """Note that there is something that was not sent yet."""


class ReplyText(EndSink):
    """The place of one client in a reply's text."""

    wants_text = True

    def __init__(self, answer: TextAnswer, begin: int) -> None:
        self._answer = answer
        self._stream: ReplyStream | None = None
        self._sending = False
        """True while a piece is sent at the client's pace, and no other may overtake it."""
        self._sent: dict[Kind, int] = {"reasoning": 0, "text": begin}

    def attach(self, stream: ReplyStream) -> None:
        """See ReplySink.attach."""
        self._stream = stream
        if self._answer.stored_only:
            stream.watch_stored(self._answer.wake)
        else:
            stream.add_reader(self)
        if not stream.empty:
            self._answer.wake()

    def detach(self, stream: ReplyStream) -> None:
        """See ReplySink.detach."""
        stream.unwatch_stored(self._answer.wake)
        stream.remove_reader(self)

    def piece(self, kind: Kind, offset: int, content: str) -> None:
        """See TextReader.piece."""
        follows = self._sent[kind] == offset and not self._sending
        if follows and len(content) <= SHORT and self._answer.ready():
            self._sent[kind] += len(content)
            self._answer.show(kind, content)
        else:
            self._answer.wake()

    async def catch_up(self) -> None:
        """Send what has come meanwhile, once the client has taken what came before.

        Raises ConnectionError when the client is gone.
        """
        await self._answer.send_queue.wait_drained()
        if self._stream is None:
            return
        for kind, sent in self._sent.items():
            content = self._stream.text_from(sent, kind)
            if self._answer.stored_only and kind == "text":
                content = content[: max(0, self._stream.stored_end - sent)]
            await self._send(kind, content)

    async def finish(self, text: str) -> None:
        """Send the rest of a reply that has ended. Raises as ``catch_up``."""
        await self.catch_up()
        await self._send("text", text[self._sent["text"] :])

    async def _send(self, kind: Kind, content: str) -> None:
        if not content:
            return
        self._sent[kind] += len(content)
        self._sending = True
        try:
            await self._answer.show_long(kind, content)
        finally:
            self._sending = False
