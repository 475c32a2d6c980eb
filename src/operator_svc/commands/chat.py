"""``operator-svc chat``: talk to a running service from a terminal, or through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from operator_svc.client import Conversation, OperatorClient, Reply

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8011"
REFRESH = 12
SIGNAL_CHECK = 0.2
"""Seconds after which Ctrl-C is noticed at the latest."""
"""Redraws a second while Markdown streams."""
HELP = """\
/history [n]     the last messages of this session (20)
/session [id]    which session this is; with an id, change to it; with "new", to a new one
/cancel          stop the reply that is being written (Ctrl-C does so too)
/help            this
/quit            leave (Ctrl-D does so too)"""


@click.command("chat")
@click.argument("message", required=False)
@click.option("--url", default=None, help="Where Operator is; OPERATOR_URL, or the local one.")
@click.option("--session", "session_id", default=None, help="The session to talk in.")
@click.option("--plain", is_flag=True, help="Do not render Markdown.")
def command(message: str | None, url: str | None, session_id: str | None, plain: bool) -> None:
    """Talk to a running Operator.

    The token is taken from the environment, as the service takes its own. With a MESSAGE, or
    one on standard input, prints the reply alone and ends: with exit code 0 where it is
    complete, else with 1.
    """
    from operator_svc.commands import common

    token = common.token(os.environ)
    where = url or os.environ.get("OPERATOR_URL") or DEFAULT_URL
    if message is None and not sys.stdin.isatty():
        message = sys.stdin.read().strip()
        if not message:
            raise click.UsageError("there is no message on standard input")
    with _Background() as background:
        chat = _Chat(background, where, token, session_id, plain or not sys.stdout.isatty())
        sys.exit(chat.single(message) if message is not None else chat.loop())


class _Background:
    """An event loop in a thread, so that Ctrl-C interrupts the terminal and never the client."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> _Background:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``; KeyboardInterrupt leaves it running."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while not future.done():
            # A signal that another thread takes does not end a wait of this one.
            wait((future,), SIGNAL_CHECK)
        return future.result()


class _Chat:
    def __init__(
        self, background: _Background, url: str, token: str, session_id: str | None, plain: bool
    ) -> None:
        self._run = background.run
        self._url = url
        self._token = token
        self._session_id = session_id
        self._plain = plain
        self._client: OperatorClient | None = None
        self._conversation: Conversation | None = None

    # Its two ways of working.

    def single(self, message: str) -> int:
        """One message, one reply; the exit code."""
        try:
            return self._guarded(lambda: self._turn(message))
        finally:
            self._close()

    def loop(self) -> int:
        """A conversation, until the user leaves; the exit code."""
        if opened := self._guarded(self._open):
            return opened
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() a line editor
        click.echo(f"{self._url}, session {self._here.session_id}; /help tells more.")
        while True:
            try:
                line = input("> ").strip()
            except EOFError:
                click.echo()
                break
            except KeyboardInterrupt:
                click.echo("  (Ctrl-D or /quit to leave)")
                continue
            if line in ("/quit", "/exit"):
                break
            if line:
                self._guarded(lambda line=line: self._do(line))  # type: ignore[misc]
        self._close()
        return 0

    def _guarded(self, work: Callable[[], int]) -> int:
        from operator_svc.client import ClientError

        try:
            return work()
        except ClientError as error:
            click.echo(f"operator-svc: {error}", err=True)
            return 1

    # Commands.

    def _do(self, line: str) -> int:
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word == "/help":
            click.echo(HELP)
        elif word == "/history":
            self._history(int(rest) if rest.isdecimal() and 0 < int(rest) <= 1000 else 20)
        elif word == "/session":
            self._change(rest)
        elif word == "/cancel":
            click.echo("nothing is being written; while it is, press Ctrl-C")
        elif word.startswith("/"):
            click.echo(f"{word} is no command; /help lists them")
        else:
            return self._turn(line)
        return 0

    def _history(self, count: int) -> None:
        from operator_svc.client import ClientError

        assert self._client is not None
        try:
            page = self._run(self._client.history(self._here.session_id, limit=count))
        except ClientError as error:
            if error.code != "session_not_found":
                raise
            click.echo("nothing was said here yet")
            return
        for message in page.messages:
            mark = "" if message.status == "complete" else f" ({message.status})"
            click.echo(click.style(f"{message.role}{mark}:", bold=True))
            self._show(message.content)

    def _change(self, session_id: str) -> None:
        if session_id:
            self._close()
            self._session_id = None if session_id == "new" else session_id
            self._open()
        click.echo(f"session {self._here.session_id}")

    # A turn.

    def _turn(self, message: str) -> int:
        self._open()
        reply: Reply | None = None
        try:
            reply = self._run(self._here.ask(message))
            self._stream(reply)
        except KeyboardInterrupt:
            if reply is None:
                raise
            self._run(self._here.cancel(reply))
            self._run(reply.wait())
            click.echo("\n(cancelled)", err=True)
        if reply.status in ("failed", "interrupted"):
            click.echo(f"operator-svc: the reply {reply.status}: {reply.error}", err=True)
        return 0 if reply.status == "complete" else 1

    def _stream(self, reply: Reply) -> None:
        if self._plain:
            self._run(_print(reply))
            return
        from rich.live import Live
        from rich.markdown import Markdown

        with Live(console=self._console(), refresh_per_second=REFRESH) as live:
            self._run(_redraw(reply, lambda text: live.update(Markdown(text))))

    def _show(self, text: str) -> None:
        if self._plain:
            click.echo(text)
        else:
            from rich.markdown import Markdown

            self._console().print(Markdown(text))

    def _console(self) -> Console:
        from rich.console import Console

        return Console()

    # The connection.

    @property
    def _here(self) -> Conversation:
        assert self._conversation is not None
        return self._conversation

    def _open(self) -> int:
        if self._conversation is None:
            self._run(self._connect())
        return 0

    async def _connect(self) -> None:
        from operator_svc.client import OperatorClient

        client = OperatorClient(self._url, self._token)
        await client.__aenter__()
        try:
            conversation = client.conversation(
                self._session_id, on_reconnect=_note_reconnect if sys.stdin.isatty() else None
            )
            await conversation.__aenter__()
        except BaseException:
            await client.aclose()
            raise
        self._client, self._conversation = client, conversation

    def _close(self) -> None:
        if self._conversation is not None and self._client is not None:
            self._run(self._conversation.aclose())
            self._run(self._client.aclose())
        self._conversation = self._client = None


def _note_reconnect() -> None:
    click.echo("\n(reconnecting)", err=True)


async def _print(reply: Reply) -> None:
    async for piece in reply:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


async def _redraw(reply: Reply, show: Callable[[str], None]) -> None:
    async for _ in reply:
        show(reply.text)
    show(reply.text)
