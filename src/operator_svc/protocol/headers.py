"""HTTP headers of Operator's own, and those whose meaning both sides of a call share."""

from __future__ import annotations

from collections.abc import Mapping

from multidict import istr

TOKEN = "X-VX11-Token"  # noqa: S105 - the name of a header
REQUEST_ID = "X-Request-ID"
CORRELATION_ID = "X-Correlation-Id"
"""The request id's twin, by which VX11's modules and the newer interface call it."""
IDEMPOTENCY_KEY = "Idempotency-Key"
SHOULD_RETRY = "x-should-retry"
"""Tells OpenAI's SDKs if they may repeat a call that failed."""
BEARER = "Bearer"
"""The scheme of ``Authorization`` under which a token may come as well (RFC 6750)."""
_TOKEN, _AUTHORIZATION = istr(TOKEN), istr("Authorization")


def token_of(sent: Mapping[str, str]) -> str | None:
    """The token that a request brings: ``X-VX11-Token``, else ``Authorization: Bearer``.

    None where it brings neither, or another scheme, which a proxy in front may have used.
    """
    token = sent.get(_TOKEN)
    if token is None and (given := sent.get(_AUTHORIZATION)) is not None:
        scheme, _, credentials = given.partition(" ")
        if scheme.lower() == "bearer":
            return credentials.strip()
    return token


def is_compressed(content_encoding: str | None) -> bool:
    """True where a body would have to be inflated: none is, as 1 kB can become 1 MB."""
    return (content_encoding or "").strip().lower() not in ("", "identity")
