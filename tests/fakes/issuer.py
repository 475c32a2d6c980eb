"""An issuer of signed tokens: its keys, and the address of its key set."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

ISSUER = "https://issuer.example"
AUDIENCE = "operator"
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS: dict[str, Any] = {
    "RS256": _RSA,
    "PS512": _RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
"""A private key for each of some algorithms; making them takes longer than a test should."""
OTHER = ec.generate_private_key(ec.SECP256R1())
"""Another key for ES256."""


def jwk(key: Any, algorithm: str, **members: Any) -> dict[str, Any]:
    """A private key's public part, as key sets have it."""
    told: Any = get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    told.pop("key_ops", None)
    return {**told, **members}


def token(key: Any = None, algorithm: str = "ES256", headers: Any = None, **claims: Any) -> str:
    """A signed token, good for a minute unless ``claims`` say otherwise; None leaves one out."""
    usual = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60, "sub": "ana"}
    given = {name: value for name, value in (usual | claims).items() if value is not None}
    headers = {"kid": algorithm} if headers is None else headers
    return jwt.encode(given, key or KEYS[algorithm], algorithm, headers=headers)


class Issuer:
    """A key set at an address. ``keys`` are in it; ``answer`` (a status, text and headers) takes
    the place of all of it."""

    def __init__(self) -> None:
        self.keys = [jwk(key, name, kid=name) for name, key in KEYS.items()]
        self.answer: tuple[int, str, dict[str, str]] | None = None
        self.fetches = 0
        app = web.Application()
        app.router.add_get("/keys", self._keys)
        self._server = TestServer(app)

    async def __aenter__(self) -> Issuer:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        """The address of the key set."""
        return str(self._server.make_url("/keys"))

    async def _keys(self, _: web.Request) -> web.StreamResponse:
        self.fetches += 1
        status, text, headers = self.answer or (200, json.dumps({"keys": self.keys}), {})
        return web.Response(status=status, text=text, headers=headers)
