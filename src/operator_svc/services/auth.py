"""The tokens that callers bring: the one of the settings, and those of a file that can be reloaded.

The file has one JSON object a line, ``{"name", "token", "role"?, "user_id"?}``. Tokens are kept
as SHA-256 digests and looked up in the same time whichever of them is brought, or none.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import structlog
from msgspec import Meta

from operator_svc import telemetry
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol import headers
from operator_svc.protocol.text import problem as text_problem
from operator_svc.services.rate_limit import RateLimit
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

SETTING = "OPERATOR_TOKENS_FILE"
DEFAULT_NAME = "default"
"""The name of ``OPERATOR_TOKEN``."""
ANONYMOUS = Caller("anonymous", "operator")
"""Every caller, where auth is off."""
WRONG_TOKENS = 20
"""Wrong tokens a minute of one address that are answered at once."""
WRONG_TOKEN_DELAY = 1.0
"""Seconds that the answer to each further one waits."""
MAX_TOKENS = 1000
"""Tokens of one process; each request compares with all of them."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One token of the file. A ``client`` may chat; an ``operator`` may also adjust Switch."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}(?!\n)$")]
    token: Annotated[str, Meta(min_length=1, max_length=4096)]
    role: Literal["client", "operator"] = "client"
    user_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


class Tokens:
    """Finds callers by the token that they bring. Secrets are not kept, so none can be shown."""

    def __init__(
        self, settings: Settings, on_reload: Callable[[Tokens], None] | None = None
    ) -> None:
        """Raises ConfigurationError with one line for each fault of the file.

        ``on_reload`` is called after each reload, with these tokens.
        """
        self._settings = settings
        self._on_reload = on_reload
        self._known = _read(settings)

    @property
    def required(self) -> bool:
        """True where callers must bring a token."""
        return self._settings.auth == "token"

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str) -> Caller | None:
        """The caller whose token it is; None for a wrong one. With auth off, ``ANONYMOUS``."""
        if not self.required:
            return ANONYMOUS
        digest = _digest(token)
        found = None
        for known, caller in self._known:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def is_current(self, caller: Caller) -> bool:
        """True while the token by which ``caller`` was found stands, and is unchanged."""
        return not self.required or any(known is caller for _, known in self._known)

    def check_current(self, caller: Caller) -> None:
        """Raise OperatorError(forbidden) where the token of ``caller`` stands no more."""
        if not self.is_current(caller):
            raise OperatorError(ErrorCode.FORBIDDEN, "the token is no longer valid")

    def reload(self) -> bool:
        """Read the file again (SIGHUP); a broken one is logged, and the old tokens stay."""
        try:
            read = _read(self._settings)
        except ConfigurationError as error:
            log.error("tokens not reloaded", problems=error.problems)
            return False
        # Callers whose token is the same as before stay the same objects: see ``is_current``.
        before = {(digest, caller): caller for digest, caller in self._known}
        self._known = [(digest, before.get((digest, caller), caller)) for digest, caller in read]
        log.info("tokens reloaded", names=[caller.name for _, caller in self._known])
        if self._on_reload is not None:
            self._on_reload(self)
        return True


class WrongTokenError(OperatorError):
    """A token that nobody has. The answer waits ``delay`` seconds, where there were many."""

    def __init__(self, delay: float) -> None:
        super().__init__(ErrorCode.FORBIDDEN, "the token is wrong")
        self.delay = delay


class Authenticator:
    """Finds out who calls, by HTTP and by websocket alike, and counts what each token does."""

    def __init__(self, tokens: Tokens, settings: Settings) -> None:
        self._tokens = tokens
        self.rate = RateLimit(settings.request_rate, 60.0, "requests of one token")
        self._wrong = RateLimit(WRONG_TOKENS, 60.0, "wrong tokens of one address")
        self._counters: dict[str, Callable[[], None]] = {}

    def identify(self, token: str | None, address: str) -> Caller:
        """The caller whose token it is. Raises OperatorError(auth_required), WrongTokenError."""
        if token is None and self._tokens.required:
            raise OperatorError(
                ErrorCode.AUTH_REQUIRED,
                f"a token is missing: send it in {headers.TOKEN}, or as Authorization: Bearer",
            )
        caller = self._tokens.find(token or "")
        if caller is not None:
            return caller
        try:
            self._wrong.take(address)
        except OperatorError:
            raise WrongTokenError(WRONG_TOKEN_DELAY) from None
        raise WrongTokenError(0.0)

    def count(self, caller: Caller) -> None:
        """Count a request, a handshake or a command of ``caller``.

        Raises OperatorError(rate_limited).
        """
        counter = self._counters.get(caller.name)
        if counter is None:
            counter = self._counters[caller.name] = telemetry.TOKEN_REQUESTS.labels(caller.name).inc
        counter()
        self.rate.take(caller.name)


def problems(settings: Settings) -> list[str]:
    """The faults of the file of tokens, a line each; for ``check-config``."""
    try:
        _read(settings)
    except ConfigurationError as error:
        return error.problems
    return []


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _read(settings: Settings) -> list[tuple[bytes, Caller]]:
    known: list[tuple[bytes, Caller]] = []
    if settings.token:
        known.append((_digest(settings.token), Caller(DEFAULT_NAME, "operator")))
    if not settings.tokens_file:
        return known
    faults: list[str] = []
    for number, raw in enumerate(_lines(settings.tokens_file), 1):
        if not raw.strip():
            continue
        fault = _take(raw, known)
        if fault is not None:
            faults.append(f"{SETTING}, line {number}: {fault}")
    if len(known) > MAX_TOKENS:
        faults.append(f"{SETTING}: more than {MAX_TOKENS} tokens")
    if faults:
        raise ConfigurationError(faults)
    return known


def _lines(path: str) -> list[bytes]:
    try:
        return Path(path).read_bytes().splitlines()
    except OSError as error:
        raise ConfigurationError([f"{SETTING}: {path} cannot be read: {error.strerror}"]) from None


def _take(raw: bytes, known: list[tuple[bytes, Caller]]) -> str | None:
    """Add the token of a line; what is wrong with it, if anything. Never quotes the line."""
    try:
        line = msgspec.json.decode(raw, type=_Line)
    except msgspec.ValidationError as error:
        return str(error)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return "it is not JSON"
    if not line.token.isascii() or not line.token.isprintable() or " " in line.token:
        return "the token must be ASCII without spaces: it travels in a header"
    if line.user_id is not None and (fault := text_problem(line.user_id)):
        return f"user_id {fault}"
    digest = _digest(line.token)
    for other, caller in known:
        if caller.name == line.name:
            return f"the name {line.name} stands twice"
        if hmac.compare_digest(other, digest):
            return f"{line.name} has the same token as {caller.name}"
    known.append((digest, Caller(line.name, line.role, line.user_id)))
    return None
