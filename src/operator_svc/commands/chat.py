"""``operator-svc chat``: talk to a running service from a terminal, or through a pipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import click


class _Options(NamedTuple):
    url: str | None
    token_file: Path | None
    session_id: str | None
    again: bool
    plain: bool
    as_json: bool


@click.command("chat")
@click.argument("message", required=False)
@click.option("--url", default=None, help="Where Operator is; OPERATOR_URL, or the local one.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that holds the token, instead of the environment.",
)
@click.option("--session", "session_id", default=None, help="The session to talk in.")
@click.option("-c", "--continue", "again", is_flag=True, help="Talk in the last session.")
@click.option("--plain", is_flag=True, help="Do not render Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print the reply as a line of JSON.")
def command(message: str | None, **options: object) -> None:
    """Talk to a running Operator.

    The token is taken from the environment, as the service takes its own, from --token-file, or
    from ./data/token, where `operator-svc dev` leaves it. With a MESSAGE, or one on standard
    input, prints the reply alone and ends: with exit code 0 where it is complete, with 1 where it
    failed, with 2 where the call is at fault, and with 130 after Ctrl-C.
    """
    from operator_client import ClientError
    from operator_svc.commands.terminal.text import CommandError
    from operator_svc.commands.terminal.turns import write_failure_as_json

    chosen = _Options(**options)  # type: ignore[arg-type]  # click gives them by these names
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text stream has it
    try:
        sys.exit(_run(message, chosen))
    except (CommandError, ClientError) as error:
        failure = (
            error if isinstance(error, CommandError) else CommandError(str(error), code=error.code)
        )
        if chosen.as_json and failure.code != "output":
            detail = error.detail if isinstance(error, ClientError) else failure.message
            write_failure_as_json(failure.code, detail)
        else:
            failure.show()
        sys.exit(failure.status)


def _run(message: str | None, options: _Options) -> int:
    from operator_svc.commands.terminal.link import Background, ServiceLink
    from operator_svc.commands.terminal.target import (
        LastSessions,
        address,
        checked_session_id,
        find_token,
    )
    from operator_svc.commands.terminal.text import CommandError, read_message
    from operator_svc.commands.terminal.turns import Turns

    url = address(options.url)
    token = find_token(options.token_file, url)
    session_id = options.session_id
    if session_id is not None:
        checked_session_id(session_id)
    elif options.again:
        session_id = LastSessions().get(url)
    if message is None and not sys.stdin.isatty():
        message = read_message()
    if message is None and options.as_json:
        raise CommandError("--json needs a message, as an argument or on standard input", 2)
    with Background() as background:
        link = ServiceLink(background, url, token)
        turns = Turns(link, plain=options.plain or not sys.stdout.isatty())
        try:
            link.open(session_id)
            if message is None:
                from operator_svc.commands.terminal.prompt import TerminalChat

                click.echo(f"Operator at {url}; /help lists the commands.")
                click.echo(f"session {link.conversation.session_id}")
                TerminalChat(link, turns).run()
                return 0
            reply = turns.ask_as_json(message) if options.as_json else turns.ask(message)
            return 0 if reply.status == "complete" else 1
        finally:
            link.close()
