"""Reading requests: bodies with their limits, queries, path ids and headers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec
from aiohttp import web

from operator_svc.background import aside
from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import decoding, headers, ids
from operator_svc.protocol.text import problem as text_problem
from operator_svc.rest.request_context import CALL
from operator_svc.rest.routing import NOT_FOUND, ROUTER

S = TypeVar("S", bound=msgspec.Struct)
Query: TypeAlias = Mapping[str, str]

_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE).fullmatch
_WAIT = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?').fullmatch


# Bodies.


async def read_body(request: web.Request) -> bytes:
    """The body, at most OPERATOR_MAX_BODY bytes of it, within OPERATOR_HEADER_TIMEOUT.

    Raises OperatorError: unsupported_media_type, payload_too_large, invalid_json where it does not
    come in time, and forbidden where the caller's token is taken away before it has come.
    """
    services = request.app[SERVICES]
    settings = services.settings
    content = request.content
    if content.at_eof():
        return b""  # its Content-Type means nothing: clients send some by habit
    content_type = request.headers.get("Content-Type")
    if content_type and not _JSON_TYPE(content_type):
        raise OperatorError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    if content.is_eof():
        whole = content.read_nowait()
        _check_size(len(whole), settings.max_body)
        return whole
    body = bytearray()
    try:
        async with asyncio.timeout(settings.header_timeout):
            while chunk := await content.readany():
                body += chunk
                _check_size(len(body), settings.max_body)
    except TimeoutError:
        raise OperatorError(
            ErrorCode.INVALID_JSON, f"the body did not come within {settings.header_timeout:g} s"
        ) from None
    if (caller := request[CALL].caller) is not None:
        services.tokens.check_current(caller)
    return bytes(body)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise too_large(limit)


def too_large(limit: int) -> OperatorError:
    """The failure of a body that has more bytes than allowed."""
    return OperatorError(ErrorCode.PAYLOAD_TOO_LARGE, f"the body has more than {limit} bytes")


def compressed() -> OperatorError:
    """The failure of a body that would have to be inflated."""
    return OperatorError(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        "the body must not be compressed",
        headers={"Accept-Encoding": "identity"},
    )


async def body(
    request: web.Request, struct: type[S], prepare: Callable[[Any, Query], Any] | None = None
) -> S:
    """The body as ``struct``. Fields that it lacks are read from the query, as text.

    ``prepare`` turns the body's JSON value into the fields, where it is not an object of them.
    Raises OperatorError, also of ``protocol.decoding``.
    """
    raw = await read_body(request)
    query = request.query if request.query_string else None
    return await aside(len(raw), lambda: _decoded(raw, query, struct, prepare))


def _decoded(
    raw: bytes, query: Query | None, struct: type[S], prepare: Callable[[Any, Query], Any] | None
) -> S:
    if query is None:
        return decoding.decode(raw, struct)
    plain = decoding.loads(raw) if raw.strip() else {}
    if prepare is not None:
        plain = prepare(plain, query)
    return decoding.convert(decoding.with_query(plain, query, struct), struct)


# Queries of GETs, whose faults are 400.


def parameter(request: web.Request, name: str, kind: Any) -> Any:
    """A query parameter as ``kind``; None where it is not given.

    Raises OperatorError(invalid_parameter) that names it.
    """
    raw = request.query.get(name)
    if raw is None:
        return None
    if fault := text_problem(raw):
        raise wrong(name, f"it {fault}")
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        raise wrong(name, str(error)) from None


def wrong(name: str, reason: str) -> OperatorError:
    """The failure of a parameter that is not valid."""
    return OperatorError(
        ErrorCode.INVALID_PARAMETER,
        f"{name}: {reason}",
        errors=[{"field": str(name), "reason": reason}],  # an istr cannot be encoded
    )


def query(request: web.Request) -> dict[str, Any]:
    """The parameters of the query that the call declares, by name, with their defaults.

    Raises OperatorError(invalid_parameter).
    """
    operation = request.app[ROUTER].find(request.match_info.route)
    assert operation is not None, "a handler runs for a declared call"
    read = {}
    for declared in operation.parameters:
        if declared.place == "query":
            value = parameter(request, declared.name, declared.kind)
            read[declared.name] = declared.default if value is None else value
    return read


# Ids in paths: one of the wrong form names nothing.


def session_id(request: web.Request) -> str:
    """The session's id in the path; raises OperatorError(session_not_found)."""
    return _path_id(request, "session_id", ids.is_session_id)


def task_id(request: web.Request) -> str:
    """The browser task's id in the path; raises OperatorError(task_not_found)."""
    return _path_id(request, "task_id", ids.is_task_id)


def _path_id(request: web.Request, name: str, valid: Callable[[str], object]) -> str:
    value = request.match_info[name]
    if not valid(value):
        raise _not_found(name)
    return value


def row_id(request: web.Request, name: str) -> int:
    """A row's id in the path; raises OperatorError(its ``NOT_FOUND``) if it is malformed."""
    value = ids.row_id(request.match_info[name])
    if value is None:
        raise _not_found(name)
    return value


def _not_found(name: str) -> OperatorError:
    code = NOT_FOUND[name]
    return OperatorError(code, code.summary[0].lower() + code.summary[1:])


# Headers.


class Preference(msgspec.Struct, frozen=True):
    """The header Prefer (RFC 7240), understood; ``wait`` is in seconds, None is for ever."""

    wait: float | None = None
    applied: str = ""


def preference(request: web.Request) -> Preference:
    """The wait that a caller prefers. Ignores what it does not understand."""
    given = request.headers.getall("Prefer", ())
    if not given:
        return Preference()
    wait, at_once = None, False
    for part in ",".join(given).split(","):
        name = part.partition(";")[0].strip().lower()
        if name == "respond-async":
            at_once = True
        elif (found := _WAIT(name)) and wait is None:
            wait = int(found[1])
    if wait is not None:
        return Preference(float(wait), f"wait={wait}")
    return Preference(0.0, "respond-async") if at_once else Preference()


def idempotency_key(request: web.Request) -> str | None:
    """The header Idempotency-Key: 1 to 200 printable ASCII characters.

    Raises OperatorError(invalid_parameter).
    """
    value = request.headers.get(headers.IDEMPOTENCY_KEY)
    if value is not None and not ids.is_printable_key(value):
        raise wrong(headers.IDEMPOTENCY_KEY, "it must have 1 to 200 printable ASCII characters")
    return value


def wants_events(request: web.Request, stream: bool | None) -> bool:
    """True where an event stream is asked for: by ``stream``, else by the header Accept."""
    if stream is not None:
        return stream
    accept = request.headers.get("Accept")
    if accept is None or "text/event-stream" not in accept:
        return False
    ranked: dict[str, tuple[float, int]] = {}
    for place, part in enumerate(accept.lower().split(",")):
        name, _, rest = part.partition(";")
        ranked.setdefault(name.strip(), (_quality(rest), -place))
    events = ranked.get("text/event-stream", (0.0, 0))
    return events[0] > 0 and events > ranked.get("application/json", (0.0, 0))


def _quality(parameters: str) -> float:
    for parameter_ in parameters.split(";"):
        name, _, value = parameter_.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
