"""The prompt of ``operator-svc chat`` and its commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_or_none
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.shortcuts import CompleteStyle

from operator_client import ClientError
from operator_svc.commands.terminal.target import LastSessions, checked_session_id
from operator_svc.commands.terminal.text import CommandError, printable
from operator_svc.commands.terminal.turns import Turns

if TYPE_CHECKING:
    from operator_svc.commands.terminal.link import ServiceLink

HELP = {
    "/multi": "write a message of several lines; Esc and then Enter sends it",
    "/regenerate": "request another reply to the last message",
    "/history [n]": "show the last messages of this session (20)",
    "/sessions [words]": "list the newest sessions, or those with these words",
    "/session [id]": 'show the session, or switch to another ("new": a new one)',
    "/cancel": "stop the running reply, as Ctrl-C does",
    "/help": "list the commands",
    "/quit": "exit, as Ctrl-D does",
}
LISTED = 20
"""Messages and sessions that are listed."""


class TerminalChat:
    """A conversation at a terminal, until its user leaves."""

    def __init__(self, link: ServiceLink, turns: Turns) -> None:
        self._link = link
        self._turns = turns
        words = WordCompleter([name.split()[0] for name in HELP], sentence=True)
        self._input: PromptSession[str] = PromptSession(
            completer=words,
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            prompt_continuation="  ",
        )
        self._commands: dict[str, Callable[[str], object]] = {
            "/help": self._help,
            "/history": self._history,
            "/sessions": self._sessions,
            "/session": self._session,
            "/cancel": self._cancel,
            "/regenerate": lambda _: self._turns.regenerate(),
            "/multi": lambda _: self._multi(),
        }

    def run(self) -> None:
        """Read and answer lines until the end of input or ``/quit``."""
        while True:
            try:
                line = self._read("> ").strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                click.echo("  (Ctrl-D or /quit to exit)")
                continue
            if line in ("/quit", "/exit"):
                return
            if line:
                self._do(line)

    def _read(self, prompt: str, *, multiline: bool = False) -> str:
        """A line, or several that were pasted, with the state of the connection below it."""
        self._link.clear()
        with self._link.watched(self._show_state):
            self._show_state()
            return self._input.prompt(prompt, multiline=multiline)

    def _show_state(self) -> None:
        self._input.bottom_toolbar = self._link.state or None
        if (app := get_app_or_none()) or (app := self._input.app):
            app.invalidate()

    def _do(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        try:
            self._link.reopen()
            if not line.startswith("/") or "\n" in line:
                self._turns.ask(line)
            elif word in self._commands:
                self._commands[word](rest.strip())
            else:
                click.echo(f"{printable(word)} is not a command; /help lists them")
        except ClientError as error:
            CommandError(str(error)).show()
        except CommandError as failure:
            failure.show()
        except KeyboardInterrupt:
            click.echo("(stopped)", err=True)

    # Commands.

    def _help(self, _: str) -> None:
        for name, meaning in HELP.items():
            click.echo(f"{name:<18} {meaning}")

    def _cancel(self, _: str) -> None:
        click.echo("no reply is running; Ctrl-C stops one that is")

    def _multi(self) -> None:
        click.echo("(Esc and then Enter sends it, Ctrl-C drops it)")
        try:
            message = self._read("… ", multiline=True).strip()
        except (EOFError, KeyboardInterrupt):
            message = ""
        if message:
            self._turns.ask(message)
        else:
            click.echo("(nothing was sent)")

    def _history(self, rest: str) -> None:
        count = int(rest) if rest.isdecimal() and 0 < int(rest) <= 1000 else LISTED
        for message in self._turns.history(count):
            mark = "" if message.status == "complete" else f" ({message.status})"
            click.echo(click.style(f"{message.role}{mark}:", bold=True))
            self._turns.show(message.content)

    def _sessions(self, words: str) -> None:
        page = self._link.run(self._link.client.list_sessions(q=words or None, limit=LISTED))
        here = self._link.conversation.session_id
        for one in page.sessions:
            mark = "*" if one.session_id == here else " "
            when = f"{one.updated_at.astimezone():%Y-%m-%d %H:%M}"
            count = f"{one.message_count:>5} message{'s' if one.message_count != 1 else ''}"
            click.echo(f"{mark} {when}  {count:<15}  {one.session_id}")
        if not page.sessions:
            click.echo("no session contains these words" if words else "there are no sessions yet")

    def _session(self, rest: str) -> None:
        if rest:
            self._link.open(None if rest == "new" else checked_session_id(rest))
            self._turns.forget()
            if rest != "new":
                LastSessions().keep(self._link.url, rest)
        click.echo(f"session {self._link.conversation.session_id}")
