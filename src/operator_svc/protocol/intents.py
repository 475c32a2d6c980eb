"""Keys for callers that repeat a call without saying which one it is.

OpenAI's SDKs repeat a POST that failed on its way, without an idempotency key, and count the
attempts (``x-stainless-retry-count``). One intent is one call to the engine: an attempt after
the first is the same chat as the latest one with the same token, path, session and body.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from operator_svc.models import Caller

WITHIN = 600.0
"""Seconds within which a call is repeated; SDKs give up far earlier."""
SOON = 0.25
"""Seconds after a repeated call within which a first one was sent before it: SDKs wait for 0.375
at least, and a caller who asks the same again has to have the answer first."""


class Renewal(msgspec.Struct, frozen=True):
    """The rule by which a chat takes the key of its intent over from an earlier chat.

    ``repeated`` says that the call is not the first one of its intent. The key is taken from a
    chat that was stored at least ``renewed_after`` seconds ago, and between two first calls at
    any time: they are two intents.
    """

    repeated: bool
    renewed_after: float


class Attempt(NamedTuple):
    """One of the calls for an intent. ``number`` is 0 for the first one; it came ``age`` seconds
    ago, and ``left`` says that its caller is not there any more."""

    number: int
    age: float
    left: bool


class Intent(NamedTuple):
    """The key of a call, the rule by which it takes that over if it is not the caller's own, and
    the number of the attempt."""

    key: str
    renewal: Renewal | None
    number: int


def intent_key(caller: Caller, path: str, session_id: str, body: bytes) -> str:
    """The key of a call, which is equal for equal requests; no part can stand for another one,
    since each comes with its length."""
    name, to, session = caller.name.encode(), path.encode(), session_id.encode()
    head = b"%b%d:%b%d:%b%d:" % (name, len(to), to, len(session), session, len(body))
    digest = hashlib.sha256(head)
    digest.update(body)
    return f"intent-{digest.hexdigest()[:40]}"


def renewal_of(attempt: Attempt) -> Renewal:
    """The rule by which an attempt is a chat of its own.

    A repeated one is the chat that was stored last, if that is not too old. A first one is a new
    chat, unless an attempt after it was stored while it was on its way: then it is that one, so
    it does not matter which of them the database sees first. A caller that has left has nothing
    more to ask, however late its call is read.
    """
    overtaken = WITHIN if attempt.number or attempt.left else attempt.age + SOON
    return Renewal(repeated=attempt.number > 0, renewed_after=overtaken)
