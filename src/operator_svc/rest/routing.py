"""Declarations of HTTP calls: each stands once, beside its handler.

The router, what a request passes before its handler runs, and ``/openapi.json`` come from them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from aiohttp import web
from aiohttp.web_urldispatcher import AbstractRoute
from msgspec import Meta

from operator_svc.errors import ErrorCode
from operator_svc.protocol import headers, ids

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Expect: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
Method: TypeAlias = Literal["GET", "POST", "DELETE", "OPTIONS"]
Auth: TypeAlias = Literal["token", "open", "own"]
"""The part that asks for the token: the pipeline, none, or the handler, since it may come later."""

JSON, NDJSON, EVENTS, PNG = (
    "application/json",
    "application/x-ndjson",
    "text/event-stream",
    "image/png",
)


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a query or a header. ``default`` is read where it is not given."""

    name: str
    kind: Any
    meaning: str
    place: Literal["query", "header"] = "query"
    default: Any = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A good answer. ``content`` has for each content type an example, whose type is the
    answer's; or a plain type; or None for a stream of events."""

    meaning: str
    content: dict[str, Any] = {}
    headers: tuple[str, ...] = ()


class Operation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One call. ``tag`` is None for what ``/openapi.json`` does not describe. ``rules`` is JSON
    Schema that adds to the body's what its type does not say. ``quiet`` is for probes, whose
    successes are no news."""

    method: Method
    path: str
    handler: Handler
    tag: str | None
    summary: str = ""
    detail: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: type[msgspec.Struct] | None = None
    example: msgspec.Struct | None = None
    rules: Mapping[str, Any] = {}
    answers: Mapping[int, Answer] = {}
    errors: tuple[ErrorCode, ...] = ()
    auth: Auth = "token"
    quiet: bool = False


class RouteTable:
    """The calls of one module, and what they have in common. Used as a decorator of handlers: the
    first line of a handler's docstring is the summary that is published, and the rest the
    description."""

    def __init__(self, tag: str | None, *, auth: Auth = "token", quiet: bool = False) -> None:
        self._tag, self._auth, self._quiet = tag, auth, quiet
        self._operations: list[Operation] = []

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations)

    def __call__(
        self,
        method: Method,
        path: str,
        *,
        parameters: tuple[Parameter, ...] = (),
        body: type[msgspec.Struct] | None = None,
        example: msgspec.Struct | None = None,
        rules: Mapping[str, Any] | None = None,
        answers: Mapping[int, Answer] | None = None,
        errors: tuple[ErrorCode, ...] = (),
    ) -> Callable[[Handler], Handler]:
        """Declare the call that the decorated handler answers. ``errors`` are those that its
        path, its query and its body do not say by themselves."""

        def declare(handler: Handler) -> Handler:
            summary, _, detail = inspect.cleandoc(handler.__doc__ or "").partition("\n\n")
            self._operations.append(
                Operation(
                    method=method,
                    path=path,
                    handler=handler,
                    tag=self._tag,
                    summary=summary.replace("\n", " ").replace("``", "`").rstrip("."),
                    detail=detail.replace("\n", " ").replace("``", "`"),
                    parameters=parameters,
                    body=body,
                    example=example,
                    rules=rules or {},
                    answers=answers or {},
                    errors=(*_errors_of_input(path, parameters, body), *errors),
                    auth=self._auth,
                    quiet=self._quiet,
                )
            )
            return handler

        return declare


def _errors_of_input(
    path: str, parameters: tuple[Parameter, ...], body: type[msgspec.Struct] | None
) -> Iterator[ErrorCode]:
    """The errors of a call that follow from what it reads: an id, a query, a body."""
    if any(parameter.place == "query" for parameter in parameters):
        yield ErrorCode.INVALID_PARAMETER
    if body is not None:
        yield from BAD_BODY
    for name in re.findall(r"\{(\w+)\}", path):
        if name in NOT_FOUND:
            yield NOT_FOUND[name]


WITH_SLASHES = frozenset({"model"})
"""Variables of paths that may have slashes, as names of models do (``meta-llama/Llama-3``)."""


class Router:
    """The calls of an application, found again by the route that a request takes.

    Paths that declare no OPTIONS of their own answer it with ``options``, open where all of the
    path is.
    """

    def __init__(self, operations: Iterable[Operation], options: Handler) -> None:
        self.operations = tuple(operations)
        self._by_path: dict[str, dict[str, Operation]] = {}
        for operation in self.operations:
            self._by_path.setdefault(operation.path, {})[operation.method] = operation
        for path, methods in self._by_path.items():
            is_open = all(operation.auth == "open" for operation in methods.values())
            methods.setdefault(
                "OPTIONS",
                Operation(
                    method="OPTIONS",
                    path=path,
                    handler=options,
                    tag=None,
                    auth="open" if is_open else "token",
                ),
            )

    def register(self, app: web.Application, expect: Expect) -> None:
        """Add all calls to ``app``. Ids in paths may have any form: the handlers judge them."""
        for path, methods in self._by_path.items():
            pattern = re.sub(r"\{(\w+)\}", _variable, path)
            for method, operation in methods.items():
                web.route(method, pattern, operation.handler, expect_handler=expect).register(
                    app.router
                )

    def find(self, route: AbstractRoute) -> Operation | None:
        """The call that ``route`` leads to, a HEAD to its GET; None where none does."""
        if route.resource is None:
            return None
        method = "GET" if route.method == "HEAD" else route.method
        return self._by_path[route.resource.canonical][method]

    def methods(self, path: str) -> list[str]:
        """The methods of a path, by its template."""
        methods = set(self._by_path[path])
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _variable(found: re.Match[str]) -> str:
    """A variable of a path as aiohttp has it, whose own pattern leaves braces out."""
    name = found[1]
    return f"{{{name}:{'.+' if name in WITH_SLASHES else '[^/]+'}}}"


ROUTER: web.AppKey[Router] = web.AppKey("router", Router)


# Parts that many declarations share.


def json(example: msgspec.Struct, meaning: str, *more_headers: str) -> Answer:
    """An answer of JSON."""
    return Answer(meaning=meaning, content={JSON: example}, headers=more_headers)


def limit(default: int, most: int) -> Parameter:
    """The parameter ``limit`` of a list."""
    return Parameter(
        "limit",
        Annotated[int, Meta(ge=1, le=most)],
        f"Records of a page; {default} if not given. It also ends at 4 MiB of stored content.",
        default=default,
    )


NOT_FOUND = {
    "session_id": ErrorCode.SESSION_NOT_FOUND,
    "message_id": ErrorCode.MESSAGE_NOT_FOUND,
    "reply_id": ErrorCode.REPLY_NOT_FOUND,
    "task_id": ErrorCode.TASK_NOT_FOUND,
    "adjustment_id": ErrorCode.ADJUSTMENT_NOT_FOUND,
    "model": ErrorCode.MODEL_NOT_FOUND,
    "response_id": ErrorCode.REPLY_NOT_FOUND,
    "conversation_id": ErrorCode.SESSION_NOT_FOUND,
    "item_id": ErrorCode.MESSAGE_NOT_FOUND,
}
"""The error of a path whose id names nothing, by the id's name in the path."""
BAD_BODY = (
    ErrorCode.INVALID_JSON,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.VALIDATION_ERROR,
)
SWITCH_FAILS = (
    ErrorCode.SWITCH_ERROR,
    ErrorCode.SWITCH_UNAVAILABLE,
    ErrorCode.SWITCH_BUSY,
    ErrorCode.SWITCH_TIMEOUT,
)
REPLY_FAILS = (
    ErrorCode.SESSION_NOT_FOUND,
    ErrorCode.CONFLICT,
    *SWITCH_FAILS,
    ErrorCode.NO_ANSWER,
    ErrorCode.REPLY_INTERRUPTED,
    ErrorCode.DRAINING,
)
"""The errors of every call that asks for a reply."""
REPLY_WITHHELD = (ErrorCode.CONTENT_FILTERED, ErrorCode.REPLY_TOO_LARGE)
"""The errors of those that have no other way to say that a reply is not all there."""
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
CURSOR = Parameter(
    "cursor", ids.Cursor, "The place where the page begins: `next_cursor` of the page before."
)
OF_SESSION = Parameter("session_id", ids.SessionId, "Only records of this session.")
OF_USER = Parameter("user_id", ids.UserId, "Only records of this user.")
