"""HTTP headers of Operator's own, and those whose meaning both sides of a call share."""

from __future__ import annotations

TOKEN = "X-VX11-Token"  # noqa: S105 - the name of a header
REQUEST_ID = "X-Request-ID"
CORRELATION_ID = "X-Correlation-Id"
"""The request id's twin, by which VX11's modules and the newer interface call it."""
IDEMPOTENCY_KEY = "Idempotency-Key"


def is_compressed(content_encoding: str | None) -> bool:
    """True where a body would have to be inflated: none is, as 1 kB can become 1 MB."""
    return (content_encoding or "").strip().lower() not in ("", "identity")
