"""Signed tokens (JWTs) of one issuer, and the callers that they are."""

from __future__ import annotations

from collections import OrderedDict
from time import time as now
from typing import Any

import jwt
import structlog

from operator_svc import telemetry
from operator_svc.background import TaskOwner
from operator_svc.errors import ConfigurationError
from operator_svc.models import JWT_PREFIX, SignedCaller
from operator_svc.peers.jwks import JwksFile, JwksUrl
from operator_svc.protocol.text import problem as text_problem
from operator_svc.services.auth import TokenExpiredError
from operator_svc.services.jwt_keys import JwtKey, JwtKeys, read_keys
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

MAX_TOKEN = 8192
"""Characters of a token that is looked at; a request's head has no room for many more."""
MAX_USER = 128
"""Characters of a user's id, as for the tokens of the file."""
MAX_CACHED = 10_000
"""Tokens whose signature was checked that are remembered, by their digests."""
_REQUIRED = ["exp", "iss", "aud"]
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""Failures of a token that is not one, from PyJWT and from the JSON below it."""


def make(settings: Settings, tasks: TaskOwner) -> JwtVerifier:
    """The verifier of the settings' issuer. Raises ConfigurationError."""
    if faults := problems(settings):
        raise ConfigurationError(faults)
    source = JwksUrl(settings.jwks_url) if settings.jwks_url else JwksFile(settings.jwks_file)
    keys = JwtKeys(source, tasks)
    telemetry.JWT_KEYS_AGE.set_function(keys.age)
    return JwtVerifier(keys, settings)


def problems(settings: Settings) -> list[str]:
    """The faults of the file of keys, if it is used; for ``check-config`` too."""
    if not settings.jwks_file:
        return []
    try:
        read_keys(JwksFile(settings.jwks_file).read())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return [f"OPERATOR_JWT_JWKS_FILE: {settings.jwks_file!r} cannot be used: {reason}"]
    return []


class JwtVerifier:
    """Finds callers by signed tokens. Each signature is checked once; tokens are not kept."""

    def __init__(self, keys: JwtKeys, settings: Settings) -> None:
        self._keys = keys
        self._settings = settings
        self._cached: OrderedDict[bytes, SignedCaller] = OrderedDict()

    def cached(self, digest: bytes) -> SignedCaller | None:
        """The caller of a token that was checked before, by its digest."""
        caller = self._cached.get(digest)
        if caller is not None and not self.is_current(caller):
            del self._cached[digest]
            return None
        return caller

    def is_current(self, caller: SignedCaller) -> bool:
        """True until the token has expired, or its key is trusted no more."""
        return now() < caller.expires_at and self._keys.trusts(caller.key)

    def refresh(self) -> None:
        """Begin to fetch the keys."""
        self._keys.refresh()

    async def keep_fresh(self) -> None:
        """Fetch the keys again and again."""
        await self._keys.keep_fresh()

    async def verify(self, token: str, digest: bytes) -> SignedCaller | None:
        """The caller of a token; None where it is none of the issuer's for this audience.

        Raises TokenExpiredError, and OperatorError(auth_unavailable) where its key cannot be had
        now.
        """
        if len(token) > MAX_TOKEN or token.count(".") != 2:
            return None
        try:
            key = await self._keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise jwt.InvalidKeyError("the key set has no such key")
            caller = self._caller(self._claims(token, key), key)
        except jwt.ExpiredSignatureError:
            raise TokenExpiredError from None
        except _UNREADABLE as error:
            log.info("signed token refused", reason=type(error).__name__)
            return None
        self._cached[digest] = caller
        if len(self._cached) > MAX_CACHED:
            self._cached.popitem(last=False)
        return caller

    def _claims(self, token: str, key: JwtKey) -> dict[str, Any]:
        """The claims of a token whose signature, times, issuer and audience are right."""
        return jwt.decode(
            token,
            key.key,
            algorithms=key.algorithms,
            issuer=self._settings.jwt_issuer,
            audience=self._settings.jwt_audience,
            leeway=self._settings.jwt_leeway,
            options={"require": _REQUIRED},
        )

    def _caller(self, claims: dict[str, Any], key: JwtKey) -> SignedCaller:
        settings = self._settings
        user = claims.get(settings.jwt_user_claim)
        if not isinstance(user, str) or not 1 <= len(user) <= MAX_USER or text_problem(user):
            raise jwt.InvalidTokenError("it names no user")
        is_operator = settings.jwt_operator_role in _roles(claims, settings.jwt_role_claim)
        return SignedCaller(
            f"{JWT_PREFIX}{user}",
            "operator" if is_operator else "client",
            None if is_operator else user,
            expires_at=float(claims["exp"]) + settings.jwt_leeway,
            key=key.members,
        )


def _roles(claims: dict[str, Any], path: str) -> list[Any]:
    """The roles of a claim: a text, or a list; a path with dots leads into objects."""
    found: Any = claims
    if path in claims:  # names of claims may be URLs, which have dots
        found = claims[path]
    else:
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, list) else [found]
