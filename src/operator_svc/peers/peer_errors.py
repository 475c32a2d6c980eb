"""What a peer says of its failures: kept for the log, never passed on, and never whole.

A peer may repeat in its words what it was sent, so the user's text and our secrets are taken
out of them, and an answer that could not be read is logged by its size only (at level debug
by its start).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from operator_svc.models import Json
from operator_svc.protocol.text import loads

MAX_CHARS = 500
MIN_HIDDEN = 4
"""Shorter texts are in any other text: taking them out would leave nothing to read."""
FIELDS = ("detail", "error", "error_message", "message", "msg", "reason")


def without(hidden: str, said: str) -> str:
    """``said`` without ``hidden``, be it plain or as it stands in JSON."""
    if len(hidden) < MIN_HIDDEN:
        return said
    forms = {json.dumps(hidden)[1:-1], json.dumps(hidden, ensure_ascii=False)[1:-1], hidden}
    for form in sorted(forms, key=len, reverse=True):
        said = said.replace(form, "***")
    return said


def scrubbed(said: str, secrets: Iterable[str]) -> str:
    """``said``, short and without ``secrets``."""
    for secret in secrets:
        said = without(secret, said)
    return said[:MAX_CHARS]


def words(body: bytes) -> str:
    """What the body of an HTTP error says, as far as it says it in a field that is for that.

    FastAPI's validation errors name place and reason for each fault, and beside them the
    input, which is left out.
    """
    try:
        return _words(loads(body))
    except ValueError:
        return ""


def _words(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        said = (_words(value[field]) for field in FIELDS if field in value)
        place = value.get("loc")
        where = f"{place}: " if isinstance(place, list) else ""
        return where + next(filter(None, said), "")
    if isinstance(value, list):
        return "; ".join(filter(None, map(_words, value[:10])))
    return ""
