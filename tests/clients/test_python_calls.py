"""The calls of the client for Python: all of the published document, decoded as it says."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from types import UnionType
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from operator_client import ClientError, OperatorClient, connection
from operator_client.calls import Calls
from operator_client.models import ChatBody, ChatPending
from operator_svc import rest
from operator_svc.rest.docs import openapi

Route = tuple[str, str]
STREAM = "text/event-stream"
CALLS = sorted(
    name
    for name, method in inspect.getmembers(OperatorClient, inspect.isfunction)
    if not name.startswith("_") and (hasattr(Calls, name) or name == "get_me")
)


def published() -> dict[str, Any]:
    """``/openapi.json``, as clients read it."""
    operations = [operation for table in rest.TABLES for operation in table]
    document: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(openapi.document(operations))
    )
    return document


DOCUMENT = published()
ROUTES: dict[Route, dict[str, Any]] = {
    (method.upper(), path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if method != "options"  # browsers' own, for pages of other origins
}


class Recorder:
    """A service with the published routes, which answers with the published examples."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self.bodies: list[Any] = []
        self.queries: list[dict[str, str]] = []
        self.app = web.Application()
        for (method, path), operation in ROUTES.items():
            self.app.router.add_route(method, path, self._handler((method, path), operation))

    def _handler(self, route: Route, operation: dict[str, Any]) -> Any:
        status, answer = next(iter(operation["responses"].items()))

        async def handle(request: web.Request) -> web.Response:
            self.routes.append(route)
            self.queries.append(dict(request.query))
            self.bodies.append(await request.json() if request.can_read_body else None)
            media = answer.get("content", {})
            kind = STREAM if STREAM in request.headers["Accept"] else next(iter(media), "")
            if not kind:
                return web.Response(status=int(status))
            assert kind in media
            body = msgspec.json.encode(media[kind].get("example", {"type": "none"}))
            if kind == STREAM:
                body = b": alive\n\nid: 7\nevent: some\ndata: " + body + b"\n\ndata: cut"
            elif kind == "application/x-ndjson":
                body += b"\n" + body + b"\n"
            elif answer["content"][kind]["schema"].get("type") == "array":
                body = b"[]"
            return web.Response(status=int(status), body=body, headers={"Content-Type": kind})

        return handle


@pytest.fixture
async def recorder() -> AsyncIterator[tuple[Recorder, OperatorClient]]:
    """A recorder, and a client of it."""
    recorder = Recorder()
    async with (
        TestServer(recorder.app) as server,
        OperatorClient(str(server.make_url("/")), "a token") as client,
    ):
        yield recorder, client


def arguments(name: str) -> dict[str, Any]:
    """Arguments of a call; its body is the published example."""
    method = inspect.unwrap(getattr(OperatorClient, name))
    hints = get_type_hints(method)
    given: dict[str, Any] = {}
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        kind = hints[parameter.name]
        if parameter.name == "body":
            struct = get_args(kind)[0]
            schema = DOCUMENT["components"]["schemas"][struct.__name__]
            example = schema.get("examples", [{"id": "s", "messages": []}])[0]
            given["body"] = msgspec.convert(example, struct)
        elif parameter.name != "prefer":
            kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
            given[parameter.name] = {int: 3, bool: True}.get(kinds[0], "x.y")
    return given


async def test_every_published_route_has_a_call_that_reads_its_answer(
    recorder: tuple[Recorder, OperatorClient],
) -> None:
    service, client = recorder
    for name in CALLS:
        given = arguments(name)
        result = getattr(client, name)(**given)
        if hasattr(result, "__aiter__"):
            items = [item async for item in result]
            if "export" not in name:
                ((event, id),) = [(item.event, item.id) for item in items]
                assert (event, id) == ("some", "7")
                assert items[0].json() == {"type": "none"}
            else:
                assert len(items) == 2
        else:
            answer = await result
            operation = ROUTES[service.routes[-1]]
            shown = next(iter(operation["responses"].values())).get("content", {})
            if isinstance(answer, msgspec.Struct):
                schema = shown["application/json"]
                assert schema["schema"]["$ref"].endswith(f"/{type(answer).__name__}")
                names = {field.encode_name for field in msgspec.structs.fields(answer)}
                assert schema["example"].keys() <= names
        if "body" in given:
            sent = service.bodies[-1]
            if hasattr(given["body"], "stream"):
                assert sent.pop("stream", None) == (True if name.endswith("_stream") else None)
                given["body"] = msgspec.structs.replace(given["body"], stream=None)
            assert msgspec.convert(sent, type(given["body"])) == given["body"]
        query = {one["name"] for one in ROUTES[service.routes[-1]].get("parameters", ())
                 if one["in"] == "query"}  # fmt: skip
        assert service.queries[-1].keys() <= query
    assert set(service.routes) == ROUTES.keys()


async def test_a_chat_that_does_not_wait_gives_what_it_waits_for() -> None:
    pending = {"session_id": "s", "message_id": 1, "reply_id": 2, "status": "streaming"}
    pending["created_at"] = "2026-01-01T00:00:00Z"
    seen: list[Any] = []

    async def chat(request: web.Request) -> web.Response:
        seen.append((request.headers["Prefer"], await request.json()))
        return web.json_response(pending, status=202)

    app = web.Application()
    app.router.add_post("/operator/chat", chat)
    async with TestServer(app) as server, OperatorClient(str(server.make_url(""))) as client:
        answer = await client.chat(ChatBody(message="hi"), prefer="respond-async")
    assert isinstance(answer, ChatPending)
    assert answer.reply_id == 2
    assert seen == [("respond-async", {"message": "hi"})]


def failing(statuses: list[int], headers: dict[str, str]) -> tuple[web.Application, list[Any]]:
    """A service whose calls are answered with these statuses, and the keys that they brought."""
    keys: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        keys.append(request.headers.get("Idempotency-Key"))
        status = statuses.pop(0)
        problem = {"error": "rate_limited", "detail": "slowly", "status": status}
        return web.json_response(problem, status=status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    return app, keys


@pytest.mark.parametrize(
    ("call", "body", "status", "attempts"),
    [
        ("list_sessions", None, 503, 5),
        ("chat", {"message": "m"}, 504, 5),
        ("add_tool_call", {"tool_call_id": 1}, 503, 1),
        ("add_tool_call", {"tool_call_id": 1}, 429, 5),
        ("list_sessions", None, 403, 1),
    ],
)
async def test_a_call_is_tried_again_where_that_cannot_do_it_twice(
    monkeypatch: pytest.MonkeyPatch, call: str, body: Any, status: int, attempts: int
) -> None:
    monkeypatch.setattr(connection, "PAUSE", 0.001)
    app, keys = failing([status] * 5, {})
    async with TestServer(app) as server, OperatorClient(str(server.make_url(""))) as client:
        with pytest.raises(ClientError) as caught:
            await getattr(client, call)(*([body] if body else []))
    assert (caught.value.code, caught.value.status) == ("rate_limited", status)
    assert len(keys) == attempts
    assert len(set(keys)) == 1
    assert (keys[0] is not None) == (call == "chat")


@pytest.mark.parametrize("asked", ["3600", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_pause_that_operator_asks_for_is_kept_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(connection, "LONGEST_PAUSE", 0.01)
    app, keys = failing([429, 429, 403], {"Retry-After": asked})
    async with TestServer(app) as server, OperatorClient(str(server.make_url(""))) as client:
        with pytest.raises(ClientError) as caught:
            await client.list_sessions()
    assert len(keys) == 3
    assert (caught.value.retry_after or 0) >= 3600


async def test_a_redirect_is_not_followed_with_the_token() -> None:
    app, keys = failing([302], {"Location": "http://127.0.0.1:1/elsewhere"})
    async with TestServer(app) as server, OperatorClient(str(server.make_url("")), "t") as client:
        with pytest.raises(ClientError) as caught:
            await client.list_sessions()
    assert caught.value.status == 302
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("status", "text"), [(404, "<html>"), (200, "<html>"), (200, "[]"), (302, ""), (400, "{}")]
)
async def test_an_answer_of_something_else_is_named_as_such(status: int, text: str) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/operator/me", handle)
    async with TestServer(app) as server:
        url = server.make_url("").with_user("user").with_password("secret")
        async with OperatorClient(str(url)) as client:
            with pytest.raises(ClientError) as caught:
                await client.get_me()
    assert caught.value.code == "no_operator"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        "export_session",
        "get_screenshot",
        "get_session_events_stream",
        "get_metrics",
        "delete_session",
    ],
)
async def test_a_page_in_place_of_a_stream_or_a_file_is_named_as_such(call: str) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(text="<html>Sign in", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server, OperatorClient(str(server.make_url(""))) as client:
        result = getattr(client, call)(*([] if call == "get_metrics" else ["s"]))
        with pytest.raises(ClientError) as caught:
            await (anext(result) if hasattr(result, "__anext__") else result)
    assert caught.value.code == "no_operator"


async def test_errors_of_the_protocol_of_openai_keep_their_code() -> None:
    async def handle(_: web.Request) -> web.Response:
        error = {"message": "no such model", "type": "invalid_request_error"}
        return web.json_response({"error": {**error, "code": "model_not_found"}}, status=404)

    app = web.Application()
    app.router.add_get("/v1/models/{model}", handle)
    async with TestServer(app) as server, OperatorClient(str(server.make_url(""))) as client:
        with pytest.raises(ClientError) as caught:
            await client.get_model("an/odd name")
    assert (caught.value.code, caught.value.detail) == ("model_not_found", "no such model")


async def test_a_function_gives_the_token_of_each_call() -> None:
    tokens = iter(["first", "second"])
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.headers["X-VX11-Token"])
        return web.json_response({"sessions": [], "next_cursor": None})

    async def token() -> str:
        return next(tokens)

    app = web.Application()
    app.router.add_get("/operator/sessions", handle)
    async with TestServer(app) as server, OperatorClient(str(server.make_url("")), token) as client:
        await client.list_sessions()
        await client.list_sessions()
    assert seen == ["first", "second"]
