"""The service that ``operator-svc chat`` talks to, its token, and the sessions it talked in."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from operator_svc.commands.dev import DEFAULT_URL, DEV_TOKEN
from operator_svc.commands.terminal.text import CommandError
from operator_svc.errors import ConfigurationError
from operator_svc.protocol.ids import is_session_id
from operator_svc.settings import TOKEN_NAMES, named_token


class Token(NamedTuple):
    """A token, and the variable or file that it comes from; both empty where there is none."""

    value: str
    source: str


def address(given: str | None) -> str:
    """The URL of the service; ``host:port`` is accepted. Raises CommandError for an invalid one."""
    text = given or os.environ.get("OPERATOR_URL") or DEFAULT_URL
    source = "--url" if given else "OPERATOR_URL"
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = None
    if not valid or any(character.isspace() for character in url):
        raise CommandError(f"{source} must be host:port or http://host:port, not {text!r}", 2)
    return url.rstrip("/")


def find_token(file: Path | None, url: str) -> Token:
    """The token of ``--token-file``, of the environment, or of a local ``operator-svc dev``.

    Raises CommandError for a file that cannot be read, and for what cannot be a token.
    """
    if file is not None:
        return _read(file)
    try:
        source, value = named_token(os.environ)
    except ConfigurationError as error:
        raise CommandError("; ".join(error.problems), 2) from error
    if value:
        return _checked(value, source)
    # It is this machine's: another one is not told it.
    if _is_local(url) and DEV_TOKEN.exists():
        return _read(DEV_TOKEN)
    return Token("", "")


def _read(file: Path) -> Token:
    try:
        value = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise CommandError(f"{file} cannot be read as a token: {why}", 2) from error
    return _checked(value, str(file))


def _checked(value: str, source: str) -> Token:
    """The token, which travels in a header. Raises CommandError for one that cannot."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise CommandError(f"{source} does not hold a token of ASCII without spaces", 2)
    return Token(value, source)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_problem(token: Token, url: str) -> str:
    """Words for a service that wants another token, or one at all."""
    if token.value:
        return f"{url} does not know the token of {token.source}"
    names = ", ".join(TOKEN_NAMES[1:])
    return f"{url} needs a token: set OPERATOR_TOKEN (or {names}), or name a file with --token-file"


def checked_session_id(session_id: str) -> str:
    """``session_id`` itself. Raises CommandError for one that Operator would not take."""
    if not is_session_id(session_id):
        raise CommandError(
            f"{session_id!r} is not a valid session id: 1 to 64 letters, digits and . _ : -", 2
        )
    return session_id


class LastSessions:
    """The last session at each service, kept in the user's state folder."""

    def __init__(self) -> None:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self._file = Path(home) / "operator-svc" / "sessions.json"

    def get(self, url: str) -> str:
        """The session that was last talked in. Raises CommandError where there is none."""
        session_id = self._read().get(url)
        if not isinstance(session_id, str) or not is_session_id(session_id):
            raise CommandError(f"no session at {url} was used on this machine yet", 2)
        return session_id

    def keep(self, url: str, session_id: str) -> None:
        """Keep a session as the last one; a state folder that cannot be written keeps none."""
        known = self._read()
        if known.get(url) == session_id:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            new.write_text(json.dumps(known | {url: session_id}))
            new.replace(self._file)

    def _read(self) -> dict[str, object]:
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(self._file.read_text())
            if isinstance(known, dict):
                return known
        return {}
