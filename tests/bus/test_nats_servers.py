"""Servers of NATS that let in whom they know, in clear and by TLS."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from structlog.testing import capture_logs

from operator_svc.bus.nats_connection import NatsConnection
from operator_svc.nats_settings import tls_context
from operator_svc.settings import Settings
from tests.fakes.certificates import self_signed
from tests.fakes.eventually import eventually
from tests.fakes.nats_server import NatsServer

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3
"""First bytes of keys, by what they are for (nkeys)."""


class Key:
    """A key of nkeys, and the claims that it signs."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._key = Ed25519PrivateKey.generate()
        self.public = _encoded(bytes([kind]) + self._key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        head = bytes([SEED | self._kind >> 5, (self._kind & 31) << 3])
        return _encoded(head + self._key.private_bytes_raw())

    def sign(self, subject: str, kind: str) -> str:
        """A JWT that says that ``subject`` is one."""
        claims = {"jti": kind, "iat": 1, "iss": self.public, "sub": subject, "name": kind,
                  "nats": {"type": kind, "version": 2, **LIMITS[kind]}}  # fmt: skip
        text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(claims)}"
        return f"{text}.{_base64(self._key.sign(text.encode()))}"


NAMES = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
LIMITS: dict[str, dict[str, object]] = {
    "operator": {},
    "account": {"limits": dict.fromkeys(NAMES, -1)},
    "user": {"subs": -1, "data": -1, "payload": -1},
}


def _encoded(raw: bytes) -> str:
    checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(raw + checksum).decode().rstrip("=")


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _part(value: object) -> str:
    return _base64(json.dumps(value).encode())


@contextmanager
def running(config: str) -> Iterator[NatsServer]:
    server = NatsServer(config)
    try:
        yield server
    finally:
        server.remove()


async def is_let_in(**settings: str) -> bool:
    """True where a connection of these settings opens and carries a message to another one."""
    heard: list[bytes] = []
    both = [
        NatsConnection(Settings(**settings), heard.append, lambda: None)  # type: ignore[arg-type]  # of mixed types
        for _ in range(2)
    ]
    async with aclosing(both[0]), aclosing(both[1]):
        with capture_logs() as logs:
            for connection in both:
                connection.subscribe("s")
                connection.start()
            levels = await eventually(lambda: {e["log_level"] for e in logs} - {"debug"})
        assert "hush" not in str(logs)
        if "warning" in levels:
            return False
        await eventually(lambda: both[0].is_open and both[1].is_open)
        assert both[0].send("s", b"hello")
        await eventually(lambda: heard)
        assert heard == [b"hello"]
        return True


@pytest.mark.parametrize(
    ("config", "good", "bad"),
    [
        ("authorization {user: operator, password: hush}", "operator:hush@", "operator:hush1@"),
        ("authorization {token: hush}", "hush@", "hush1@"),
        ("authorization {token: hush}", "hush@", ""),
    ],
)
async def test_who_brings_the_password_or_the_token_is_let_in(
    config: str, good: str, bad: str
) -> None:
    with running(config) as server:
        assert await is_let_in(bus_url=f"nats://{good}{server.address}")
        assert not await is_let_in(bus_url=f"nats://{bad}{server.address}")


async def test_who_brings_the_credentials_is_let_in() -> None:
    operator, account, user = Key(OPERATOR), Key(ACCOUNT), Key(USER)
    config = f"""
        operator: {operator.sign(operator.public, "operator")}
        resolver: MEMORY
        resolver_preload: {{ {account.public}: {operator.sign(account.public, "account")} }}
    """
    text = (
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n"
        "-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n"
    )
    jwt = account.sign(user.public, "user")
    with running(config) as server:
        assert await is_let_in(bus_url=server.url, bus_credentials=text.format(jwt, user.seed))
        other = text.format(jwt, Key(USER).seed)
        assert not await is_let_in(bus_url=server.url, bus_credentials=other)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that is its own authority, with key.pem beside it."""
    return self_signed(tmp_path_factory.mktemp("tls"))


async def test_a_server_with_tls_must_be_known(certificate: Path) -> None:
    key = certificate.with_name("key.pem")
    with running(f"tls {{cert_file: '{certificate}', key_file: '{key}'}}") as server:
        for scheme in ("tls", "nats"):
            url = f"{scheme}://hush@{server.address}"
            assert await is_let_in(bus_url=url, bus_ca=str(certificate))
            assert not await is_let_in(bus_url=url)


async def test_who_brings_a_certificate_that_the_server_knows_is_let_in(certificate: Path) -> None:
    key = certificate.with_name("key.pem")
    both = certificate.with_name("both.pem")
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    files = f"cert_file: '{certificate}', key_file: '{key}', ca_file: '{certificate}'"
    with running(f"tls {{{files}, verify: true}}") as server:
        url, ca = f"tls://{server.address}", str(certificate)
        assert await is_let_in(bus_url=url, bus_ca=ca, bus_cert=ca, bus_key=str(key))
        assert await is_let_in(bus_url=url, bus_ca=ca, bus_cert=str(both))
        assert not await is_let_in(bus_url=url, bus_ca=ca)


def test_an_encrypted_key_is_refused_and_no_password_asked_for(certificate: Path) -> None:
    key = load_pem_private_key(certificate.with_name("key.pem").read_bytes(), None)
    password = BestAvailableEncryption(b"hush")
    encrypted = certificate.with_name("encrypted.pem")
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, password))
    with pytest.raises(ValueError, match="cannot be used"):
        tls_context("", str(certificate), str(encrypted))


async def test_a_server_without_tls_is_told_no_secret_that_is_for_tls() -> None:
    told = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "x", "version": "2.15.1", "auth_required": true}\r\n')
        told.extend(await reader.read())
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert not await is_let_in(bus_url=f"tls://operator:hush@127.0.0.1:{port}")
    assert told == b""
    server.close()
