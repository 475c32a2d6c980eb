"""Text on its way in from people and out to a terminal, and the errors of a command."""

from __future__ import annotations

import os
import sys

import click

_SHOWN = dict.fromkeys((*range(32), *range(127, 160)), "�")
_SHOWN |= {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): ""}


class CommandError(Exception):
    """The failure of a command, in one line. ``status`` is its exit code: 2 for faults of the
    caller. ``code`` is Operator's error code, or one of the command's own, for ``--json``."""

    def __init__(self, message: str, status: int = 1, *, code: str = "invalid") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code

    def show(self) -> None:
        """Write the line to stderr."""
        click.echo(f"operator-svc: {' '.join(printable(self.message).split())}", err=True)


def printable(text: str) -> str:
    """``text`` without control characters, which a terminal would obey; lines and tabs stay."""
    return text.translate(_SHOWN)


def read_message() -> str:
    """The message on standard input. Raises CommandError where it is empty or not UTF-8."""
    try:
        message = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        said = f"standard input is not UTF-8: byte {error.start} is 0x{wrong:02x}"
        raise CommandError(said, 2) from error
    if not message.strip():
        raise CommandError("there is no message on standard input", 2)
    return message.strip()


def check_utf8(message: str) -> None:
    """Raise CommandError for text that came from bytes that are not UTF-8."""
    if any("\ud800" <= character <= "\udfff" for character in message):
        raise CommandError("the message is not UTF-8", 2)


def write_out(text: str) -> None:
    """Write to standard output at once. Raises CommandError where that cannot take it."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail once more, and loudly, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        said = f"standard output: {error.strerror}"
        raise CommandError(said, code="output") from error
