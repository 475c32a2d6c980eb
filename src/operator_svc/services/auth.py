"""The tokens that callers bring: the one of the settings, those of a file that can be reloaded, and
signed ones (JWTs) of an issuer.

Tokens are kept as SHA-256 digests and looked up by these. How long that takes tells nothing of a
token: who does not know it cannot tell how a digest comes near to its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from operator_svc import telemetry
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.models import Caller, SignedCaller
from operator_svc.protocol import headers
from operator_svc.services.rate_limit import RateLimit
from operator_svc.services.token_file import SETTING, digest_of, read_tokens
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

ANONYMOUS = Caller("anonymous", "operator")
"""Every caller, where auth is off."""
WRONG_TOKENS = 20
"""Wrong tokens a minute of one address that are answered at once."""
WRONG_TOKEN_DELAY = 1.0
"""Seconds that the answer to each further one waits."""
EXPIRY_INTERVAL = 1.0
"""Seconds between two looks for signed tokens that have expired."""


class TokenExpiredError(Exception):
    """A signed token was right, and has expired."""


class SignedTokens(Protocol):
    """The signed tokens (JWTs) of an issuer."""

    def cached(self, digest: bytes) -> SignedCaller | None:
        """The caller of a token that was checked before, by its digest."""

    async def verify(self, token: str, digest: bytes) -> SignedCaller | None:
        """The caller of a token; None for a wrong one. Raises TokenExpiredError, OperatorError."""

    def is_current(self, caller: SignedCaller) -> bool:
        """True until the token has expired, or its key is trusted no more."""

    def refresh(self) -> None:
        """Begin to fetch the keys."""

    async def keep_fresh(self) -> None:
        """Fetch the keys again and again."""


class Tokens:
    """Finds callers by the token that they bring. Secrets are not kept, so none can be shown."""

    def __init__(
        self,
        settings: Settings,
        on_reload: Callable[[Tokens], None] | None = None,
        signed: SignedTokens | None = None,
    ) -> None:
        """Raises ConfigurationError with one line for each fault of the file, and where there is no
        token at all; a reload may empty the file.

        ``on_reload`` is called after each reload, and each ``end_expired``, with these tokens.
        ``signed`` knows signed ones.
        """
        self._settings = settings
        self._on_reload = on_reload
        self._known = _read_at_start(settings)
        self._current = set(map(id, self._known.values()))
        self.signed = signed

    @property
    def required(self) -> bool:
        """True where callers must bring a token."""
        return self._settings.auth == "token"

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str) -> Caller | None:
        """The caller whose token it is, of those that are known; None for another one. With auth
        off, ``ANONYMOUS``."""
        if not self.required:
            return ANONYMOUS
        digest = digest_of(token)
        found = self._known.get(digest)
        if found is None and self.signed is not None:
            return self.signed.cached(digest)
        return found

    async def verify(self, token: str) -> Caller | None:
        """The caller whose signed token it is; None for a wrong one.

        Raises TokenExpiredError, OperatorError(auth_unavailable).
        """
        return None if self.signed is None else await self.signed.verify(token, digest_of(token))

    def is_current(self, caller: Caller) -> bool:
        """True while the token of ``caller`` exists unchanged."""
        if isinstance(caller, SignedCaller):
            return self.signed is not None and self.signed.is_current(caller)
        return not self.required or id(caller) in self._current

    async def end_expired(self) -> None:
        """End what callers have open whose signed tokens have expired. To be called every
        ``EXPIRY_INTERVAL`` seconds."""
        if self._on_reload is not None:
            self._on_reload(self)

    def check_current(self, caller: Caller) -> None:
        """Raise OperatorError(forbidden) if the token of ``caller`` is gone or changed."""
        if not self.is_current(caller):
            raise OperatorError(ErrorCode.FORBIDDEN, "the token is no longer valid")

    def reload(self) -> bool:
        """Read the file again, and fetch the keys of signed tokens (SIGHUP); a broken one is
        logged, and the old tokens stay."""
        if self.signed is not None:
            self.signed.refresh()
        try:
            read = read_tokens(self._settings)
        except ConfigurationError as error:
            log.error("tokens not reloaded", problems=error.problems)
            return False
        # Callers whose token is the same as before stay the same objects: see ``is_current``.
        before = self._known
        self._known = {
            digest: before[digest] if before.get(digest) == caller else caller
            for digest, caller in read.items()
        }
        self._current = set(map(id, self._known.values()))
        log.info("tokens reloaded", names=[caller.name for caller in self._known.values()])
        if self._on_reload is not None:
            self._on_reload(self)
        return True


class WrongTokenError(OperatorError):
    """An unknown token. The response waits ``delay`` seconds after many of them."""

    def __init__(self, delay: float, detail: str) -> None:
        super().__init__(ErrorCode.FORBIDDEN, detail)
        self.delay = delay


class Authenticator:
    """Finds out who calls, by HTTP and by websocket alike, and counts what each token does."""

    def __init__(self, tokens: Tokens, settings: Settings) -> None:
        self._tokens = tokens
        self.rate = RateLimit(settings.request_rate, 60.0, "requests of one token")
        self._wrong = RateLimit(WRONG_TOKENS, 60.0, "wrong tokens of one address")
        self._counters: dict[str, Callable[[], None]] = {}

    async def identify(self, token: str | None, address: str) -> Caller:
        """The caller whose token it is.

        Raises WrongTokenError, and OperatorError: auth_required, auth_unavailable.
        """
        if token is None and self._tokens.required:
            raise OperatorError(
                ErrorCode.AUTH_REQUIRED,
                f"a token is missing: send it in {headers.TOKEN}, or as Authorization: Bearer",
            )
        detail = "the token is wrong"
        try:
            caller = self._tokens.find(token or "") or await self._tokens.verify(token or "")
        except TokenExpiredError:
            caller, detail = None, "the token has expired"
        if caller is not None:
            return caller
        try:
            self._wrong.take(address)
        except OperatorError:
            raise WrongTokenError(WRONG_TOKEN_DELAY, detail) from None
        raise WrongTokenError(0.0, detail)

    def count(self, caller: Caller) -> None:
        """Count a request, a handshake or a command of ``caller``.

        Raises OperatorError(rate_limited).
        """
        label = telemetry.token_label(caller.name)
        counter = self._counters.get(label)
        if counter is None:
            counter = self._counters[label] = telemetry.TOKEN_REQUESTS.labels(label).inc
        counter()
        self.rate.take(caller.name)


def problems(settings: Settings) -> list[str]:
    """The faults of the file of tokens, a line each; for ``check-config``."""
    try:
        _read_at_start(settings)
    except ConfigurationError as error:
        return error.problems
    return []


def _read_at_start(settings: Settings) -> dict[bytes, Caller]:
    known = read_tokens(settings)
    others = settings.auth == "off" or settings.jwks_url or settings.jwks_file
    if settings.tokens_file and not known and not others:
        raise ConfigurationError(
            [f"{SETTING}: {settings.tokens_file} has no token, nor is another set"]
        )
    return known
