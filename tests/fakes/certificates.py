"""Certificates of servers of this machine."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest


def self_signed(folder: Path) -> Path:
    """A certificate of 127.0.0.1 that is its own authority, with key.pem beside it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=operator", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem"


def server_context(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate of its own in ``folder``."""
    certificate = self_signed(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


def trusted_by_aiohttp(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's side of TLS whose certificate aiohttp's connections trust.

    As SSL_CERT_FILE has it, which counts when aiohttp is imported.
    """
    context = server_context(folder)
    known = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", known)
    return context
