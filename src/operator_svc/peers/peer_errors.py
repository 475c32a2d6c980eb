"""Error messages of peers: for the log only, without secrets, and short.

A peer may repeat what it was sent, so the user's text and the secrets of a call are masked in
what is logged. An answer that cannot be read is logged by its size (at level debug by its
start).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from operator_svc.models import Json
from operator_svc.protocol.text import loads

MAX_CHARS = 500
MIN_HIDDEN = 4
"""Characters; a shorter text occurs in any other one, so masking it would leave nothing."""
FIELDS = ("detail", "error", "error_message", "message", "msg", "reason")


def mask(hidden: str, said: str) -> str:
    """Replaces ``hidden`` in ``said`` by ``***``, plain or escaped as in JSON."""
    if len(hidden) < MIN_HIDDEN:
        return said
    forms = {json.dumps(hidden)[1:-1], json.dumps(hidden, ensure_ascii=False)[1:-1], hidden}
    for form in sorted(forms, key=len, reverse=True):
        said = said.replace(form, "***")
    return said


def scrubbed(said: str, secrets: Iterable[str], max_chars: int = MAX_CHARS) -> str:
    """Masks ``secrets`` in ``said`` and cuts it to ``max_chars``."""
    for secret in secrets:
        said = mask(secret, said)
    return said[:max_chars]


def error_message(body: bytes) -> str:
    """Extracts the message of an HTTP error's JSON body, from the usual fields; empty without one.

    Of FastAPI's validation errors it takes place and reason, and leaves out the input.
    """
    try:
        return message_of(loads(body))
    except ValueError:
        return ""


def message_of(value: Json) -> str:
    """The message of an error in JSON, from the usual fields; empty without one."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        said = (message_of(value[field]) for field in FIELDS if field in value)
        place = value.get("loc")
        where = f"{place}: " if isinstance(place, list) else ""
        return where + next(filter(None, said), "")
    if isinstance(value, list):
        return "; ".join(filter(None, map(message_of, value[:10])))
    return ""
