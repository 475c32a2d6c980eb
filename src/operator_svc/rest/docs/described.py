"""How a call is described for the published document, and what many calls share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from operator_svc.errors import ErrorCode as E
from operator_svc.protocol import headers, ids

Method = Literal["GET", "POST", "DELETE", "OPTIONS"]
NDJSON, EVENTS, PNG = "application/x-ndjson", "text/event-stream", "image/png"


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a query or a header."""

    name: str
    kind: Any
    meaning: str
    place: Literal["query", "header"] = "query"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A good answer: what it means, and what it holds (content types to struct or None)."""

    meaning: str
    content: dict[str, Any] = {}
    headers: tuple[str, ...] = ()


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call."""

    method: Method
    path: str
    tag: str
    summary: str
    detail: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: type[msgspec.Struct] | None = None
    answers: dict[int, Answer]
    errors: tuple[E, ...] = ()
    open: bool = False


def json(kind: Any, meaning: str, *headers: str) -> Answer:
    return Answer(meaning=meaning, content={"application/json": kind}, headers=headers)


def limit(default: int, most: int) -> Parameter:
    return Parameter(
        "limit", Annotated[int, Meta(ge=1, le=most)], f"Records of a page; {default} if not given."
    )


BAD_QUERY = (E.INVALID_PARAMETER,)
BAD_BODY = (E.INVALID_JSON, E.PAYLOAD_TOO_LARGE, E.UNSUPPORTED_MEDIA_TYPE, E.VALIDATION_ERROR)
FROM_QUERY = (
    "Fields that the body lacks may stand in the query; where both give one, the body wins."
)
PREFER = Parameter(
    "Prefer",
    str,
    "`wait=N` answers after N seconds at the latest, `respond-async` at once (RFC 7240).",
    "header",
)
KEY = Parameter(
    headers.IDEMPOTENCY_KEY,
    Annotated[str, Meta(pattern=r"^[\x20-\x7e]{1,200}$")],
    "The same as `client_message_id`, which wins: a call with the same key is made once.",
    "header",
)
CURSOR = Parameter("cursor", ids.Cursor, "`next_cursor` of the page before.")
OF_SESSION = Parameter("session_id", ids.SessionId, "Only those of this session.")
OF_USER = Parameter("user_id", ids.UserId, "Only those of this user.")
SWITCH_FAILS = (
    E.SWITCH_ERROR,
    E.SWITCH_UNAVAILABLE,
    E.SWITCH_TIMEOUT,
)
