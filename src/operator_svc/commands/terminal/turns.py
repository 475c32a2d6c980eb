"""Turns of a conversation: a message, and the reply to it as it is shown."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from operator_client import ClientError, Reply
from operator_svc.commands.terminal.target import LastSessions
from operator_svc.commands.terminal.text import CommandError, check_utf8, printable, write_out
from operator_svc.errors import ErrorCode

if TYPE_CHECKING:
    from operator_client.models import MessageView
    from operator_svc.commands.terminal.link import ServiceLink
    from operator_svc.commands.terminal.reply_view import ReplyPrinter


class Turns:
    """The turns of one terminal; ``plain`` ones show a reply's text as it is."""

    def __init__(self, link: ServiceLink, *, plain: bool) -> None:
        self._link = link
        self._plain = plain
        self._last: int | None = None

    def forget(self) -> None:
        """Forget the last reply: this is another session."""
        self._last = None

    def ask(self, message: str) -> Reply:
        """Ask, and show the reply until its end.

        Raises ClientError, CommandError for text that is not UTF-8, and KeyboardInterrupt before
        there is a reply.
        """
        check_utf8(message)
        return self._turn(lambda: self._link.conversation.ask(message))

    def regenerate(self) -> None:
        """Request another reply to the last message. Raises as ``ask``."""
        last = self._last
        if last is None:
            # An answer that is still being written elsewhere cannot be asked for once more.
            last = next((one.id for one in reversed(self.history(2)) if one.role == "user"), None)
        if last is None:
            raise CommandError("there is no message to request another reply to")
        self._turn(lambda: self._link.conversation.regenerate(last))

    def ask_as_json(self, message: str) -> Reply:
        """Ask, and write the reply as a line of JSON once it has ended. Raises as ``ask``."""
        check_utf8(message)
        conversation = self._link.conversation
        reply = self._link.run(conversation.ask(message))
        LastSessions().keep(self._link.url, conversation.session_id)
        self._link.run(reply.wait())
        write_json(
            session_id=conversation.session_id,
            reply_id=reply.reply_id,
            status=reply.status,
            text=reply.text,
            error=reply.error,
            metadata=reply.metadata,
        )
        return reply

    def history(self, count: int) -> list[MessageView]:
        """The last messages of the session; none where nothing was said yet."""
        link = self._link
        try:
            page = link.run(link.client.get_session(link.conversation.session_id, limit=count))
        except ClientError as error:
            if error.code != "session_not_found":
                raise
            return []
        return page.messages

    def show(self, text: str) -> None:
        """Show a text that has ended."""
        self._view().finish(text)

    def _turn(self, ask: Callable[[], Coroutine[Any, Any, Reply]]) -> Reply:
        view, link, reply = self._view(), self._link, None
        link.clear()
        said = ""
        with link.watched(view.note), view:
            try:
                reply = link.run(ask())
                self._last = reply.reply_id
                LastSessions().keep(link.url, link.conversation.session_id)
                link.run(view.follow(reply))
            except KeyboardInterrupt:
                if reply is None:
                    raise
                said = self._stop(reply)
            view.finish(reply.text)
        if reply.status in ("failed", "interrupted"):
            CommandError(f"the reply {_ending(reply)}").show()
        if said:
            click.echo(said, err=True)
        return reply

    def _stop(self, reply: Reply) -> str:
        """Stop a reply; words for what came of it."""
        if not self._link.down:
            with contextlib.suppress(KeyboardInterrupt):  # a second one: it is not waited for
                self._link.run(self._link.conversation.cancel(reply))
                self._link.run(reply.wait())
                return f"({reply.status})"
        return "(not waited for; Operator may write it to its end, and /history shows it)"

    def _view(self) -> ReplyPrinter:
        from operator_svc.commands.terminal.reply_view import MarkdownView, PlainView

        if self._plain:
            return PlainView(lambda: self._link.state)
        from rich.console import Console

        return MarkdownView(Console(), lambda: self._link.state)


def _ending(reply: Reply) -> str:
    """Words for a reply that did not come whole, with the reason as far as it is known."""
    if reply.status == "interrupted":
        return "was interrupted; /regenerate requests another one"
    kind = ErrorCode.named(reply.error)
    reason = reply.metadata.get("detail") or (kind.summary if kind else "")
    return f"failed: {reason} ({reply.error})" if reason else f"failed: {reply.error}"


def write_json(**members: object) -> None:
    """Write a line of JSON, in ASCII: what a reply holds cannot control a terminal."""
    write_out(json.dumps(members) + "\n")


def write_failure_as_json(code: str, detail: str) -> None:
    """Write a failure as a line of JSON."""
    write_json(error=code, detail=printable(detail))
