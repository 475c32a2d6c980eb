"""The keys by which signed tokens (JWTs) are checked: public ones, of a key set (RFC 7517).

The set is fetched at the start, every ``REFRESH`` seconds, and when a token names a key that is not
in it, for which that token's caller waits. Only one fetch runs at a time.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeAlias

import jwt
import msgspec
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from operator_svc.background import TaskOwner
from operator_svc.errors import ErrorCode, OperatorError

log = structlog.get_logger(__name__)

REFRESH = 300.0
"""Seconds between two fetches: a key that is withdrawn is trusted for as long."""
MIN_INTERVAL = 10.0
"""Seconds between two fetches for unknown keys: anybody can name some."""
MAX_KEYS = 100
MIN_RSA_BITS = 2048
"""Shortest RSA key that is trusted (NIST SP 800-131A)."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
    "Ed448": ("EdDSA",),
}
_PUBLIC = {
    "RSA": ("kty", "n", "e"),
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
}
"""The kinds of keys that are asymmetric, and their members that are no secret."""


Members: TypeAlias = tuple[tuple[str, str], ...]
"""The public members of a key, which say which one it is."""


class KeySource(Protocol):
    """The place of a key set. Raises OSError, or ValueError for one that cannot be used."""

    async def fetch(self) -> bytes:
        """The key set as it is there now."""


class JwtKey(NamedTuple):
    """A public key, the algorithms that it may check, and its members."""

    key: Any
    algorithms: tuple[str, ...]
    members: Members


def read_keys(content: bytes) -> dict[str | None, JwtKey]:
    """The usable keys of a set by their ids; under None the only one, where there is one only.

    Raises ValueError for what is no key set, or has no key of use.
    """
    try:
        told = msgspec.json.decode(content, type=dict[str, Any]).get("keys")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ValueError("it is no JSON object") from None
    if not isinstance(told, list) or len(told) > MAX_KEYS:
        raise ValueError(f"it must have `keys`, a list of at most {MAX_KEYS}")
    found: dict[str | None, JwtKey] = {}
    for one in told:
        key = _key(one) if isinstance(one, dict) else None
        kid = one.get("kid") if key is not None else None
        if key is not None and (kid is None or isinstance(kid, str)):
            found[kid] = key
    if not found:
        raise ValueError(
            f"it has no key of use: RSA of {MIN_RSA_BITS} bits or more, EC, or Ed25519, for signing"
        )
    if len(found) == 1:
        found[None] = next(iter(found.values()))
    else:
        found.pop(None, None)  # nothing says which tokens are its own
    return found


def _key(told: dict[str, Any]) -> JwtKey | None:
    """A key of a set; None for one that is of no use here, such as a shared secret."""
    names = _PUBLIC.get(str(told.get("kty")))
    if names is None or told.get("use", "sig") != "sig":
        return None
    family = _RSA if told["kty"] == "RSA" else _CURVES.get(str(told.get("crv")), ())
    named = told.get("alg")
    algorithms = family if named is None else tuple(one for one in family if one == named)
    members = {name: told[name] for name in names if isinstance(told.get(name), str)}
    if not algorithms or len(members) < len(names):
        return None
    try:
        key = jwt.PyJWK(members, algorithm=algorithms[0]).key
    except (jwt.PyJWTError, ValueError, UnsupportedAlgorithm):  # the last where OpenSSL lacks it
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return None
    return JwtKey(key, algorithms, tuple(members.items()))


class JwtKeys:
    """The key set of one issuer, as far as it is known."""

    def __init__(self, source: KeySource, tasks: TaskOwner) -> None:
        self._source = source
        self._tasks = tasks
        self._keys: dict[str | None, JwtKey] = {}
        self._trusted: frozenset[Members] = frozenset()
        self._fetching: asyncio.Task[None] | None = None
        self._attempt: float | None = None
        self._fetched = monotonic()
        self._failed = True

    async def find(self, kid: str | None) -> JwtKey | None:
        """The key of this id; None where the set has none.

        Raises OperatorError(auth_unavailable) where the set could not be fetched.
        """
        key = self._keys.get(kid)
        if key is None and self._due_in() <= 0:
            self.refresh()
        if key is None and self._fetching is not None:
            await asyncio.shield(self._fetching)
            key = self._keys.get(kid)
        if key is None and self._failed:
            raise OperatorError(
                ErrorCode.AUTH_UNAVAILABLE,
                "the keys of signed tokens are unavailable",
                retry_after=max(1.0, self._due_in()),
            )
        return key

    def trusts(self, key: Members) -> bool:
        """True while the key with these members is in the set."""
        return key in self._trusted

    def age(self) -> float:
        """Seconds since the set was last fetched; since the start where it never was."""
        return monotonic() - self._fetched

    def refresh(self) -> None:
        """Begin to fetch the set, unless that is under way."""
        if self._fetching is None:
            self._fetching = self._tasks.start(self._fetch(), "jwt-keys")

    async def keep_fresh(self) -> None:
        """Fetch the set again and again."""
        while True:
            self.refresh()
            if self._fetching is not None:
                await asyncio.shield(self._fetching)
            await asyncio.sleep(MIN_INTERVAL if self._failed else REFRESH)

    def _due_in(self) -> float:
        """Seconds until an unknown key is looked for again."""
        if self._attempt is None:
            return 0.0
        return self._attempt + MIN_INTERVAL - monotonic()

    async def _fetch(self) -> None:
        self._attempt = monotonic()
        try:
            content = await self._source.fetch()
            keys = await asyncio.to_thread(read_keys, content)
        except (OSError, ValueError) as error:
            self._failed = True
            log.error("keys of signed tokens not fetched", reason=str(error), keys=len(self._keys))
        else:
            self._failed = False
            self._fetched = monotonic()
            self._take(keys)
        finally:
            self._fetching = None

    def _take(self, keys: dict[str | None, JwtKey]) -> None:
        before = self._trusted
        self._keys = keys
        self._trusted = frozenset(key.members for key in keys.values())
        if self._trusted != before:
            log.info("keys of signed tokens", ids=[kid for kid in keys if kid is not None])
