"""The servers of NATS and the credentials for them, as the settings name them."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

PORT = 4222
_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----\s+(\S+)\s+-+END \1-+")
_SEED_BYTES = 32


class NatsServer(NamedTuple):
    """A server; ``url`` has no secrets, and ``tls`` says that nothing may go in clear."""

    url: str
    tls: bool
    user: str | None
    password: str | None
    token: str | None


class NatsCredentials(NamedTuple):
    """A user's JWT, and the seed of the Ed25519 key that signs what a server asks for."""

    jwt: str
    seed: bytes


def nats_servers(urls: str) -> tuple[NatsServer, ...]:
    """The servers of a list with commas; raises ValueError, with words for its user."""
    return tuple(_server(url.strip()) for url in urls.split(","))


def _server(url: str) -> NatsServer:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("has an address that is no URL") from None
    if parts.scheme not in ("nats", "tls"):
        raise ValueError("must have addresses that begin with nats:// or tls://")
    if not parts.hostname or re.search(r"\s", url):
        raise ValueError("must name a host in each address")
    if port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must have addresses of a host and a port, and nothing behind")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    user, password = parts.username, parts.password
    return NatsServer(
        url=f"{parts.scheme}://{host}:{port or PORT}",
        tls=parts.scheme == "tls",
        user=None if user is None or password is None else unquote(user),
        password=None if password is None else unquote(password),
        token=unquote(user) if user and password is None else None,
    )


def nats_credentials(text: str) -> NatsCredentials:
    """The parts of a credentials file; raises ValueError, with words for its user."""
    blocks: dict[str, str] = dict(_BLOCK.findall(text))
    jwt, seed = blocks.get("NATS USER JWT"), blocks.get("USER NKEY SEED")
    if not jwt or not seed:
        raise ValueError("must have a user's JWT and the seed of its key, as nsc writes them")
    return NatsCredentials(jwt, _key_of(seed))


def tls_context(ca: str, certificate: str = "", key: str = "") -> ssl.SSLContext:
    """The context that proves servers by their certificates, with the authorities of the file
    ``ca``, or the system's where it is empty, and proves this client by ``certificate``, if there
    is one, whose key may be in the same file. Raises ValueError, with words for its user."""
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if certificate:
            # Without a password the library would ask the terminal for that of an encrypted key.
            context.load_cert_chain(certificate, key or None, password="")
    except OSError as error:
        raise ValueError(f"cannot be used: {error.strerror or error}") from None
    return context


def _key_of(seed: str) -> bytes:
    """The key in a seed: two bytes that say whose it is, the key, and two of a checksum."""
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except binascii.Error:
        raw = b""
    checksum = binascii.crc_hqx(raw[:-2], 0).to_bytes(2, "little")
    if len(raw) != 2 + _SEED_BYTES + 2 or raw[-2:] != checksum:
        raise ValueError("has a seed that is none: a character is wrong or missing")
    return raw[2:-2]
