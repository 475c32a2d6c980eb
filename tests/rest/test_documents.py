"""The published documents say what there is, and nothing that is not; their examples fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_origin

import msgspec
import pytest
from msgspec import UNSET

from operator_svc import rest
from operator_svc.errors import ErrorCode
from operator_svc.protocol import event_data, frames
from operator_svc.protocol import events as event_names
from operator_svc.protocol.frames import CLIENT_FRAMES, SERVER_FRAMES, CloseCode
from operator_svc.protocol.problems import Problem
from operator_svc.rest.docs import asyncapi, openapi
from tests.rest.conftest import Start
from tests.rest.rest_service import Service

CALLS = [operation for table in rest.TABLES for operation in table]
HTTP = json.loads(msgspec.json.encode(openapi.document(CALLS)))
SOCKET = json.loads(msgspec.json.encode(asyncapi.document()))


def references(value: Any) -> set[str]:
    """All that a document refers to within itself."""
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


def resolved(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for part in reference[2:].split("/"):
        document = document[part.replace("~1", "/")]
    return document


FOR_PEOPLE = {
    ("GET", path)
    for path in ("/", "/console", "/console/{file}", "/console/client/{file}", "/docs/{file}")
}
"""Pages, which no program calls."""


async def test_documents_describe_every_route_of_the_service(service: Service) -> None:
    routes = {
        (route.method, route.resource.canonical)
        for route in service.operator.application().router.routes()
        if route.resource is not None and route.method not in ("HEAD", "OPTIONS")
    }
    described = {
        (method.upper(), path)
        for path, methods in HTTP["paths"].items()
        for method in methods
        if method != "options"
    }
    socket = {("GET", channel["address"]) for channel in SOCKET["channels"].values()}
    own = {("GET", "/ws"), ("GET", "/ws/")}  # the channel's description has them
    assert "`/ws`" in SOCKET["channels"]["session"]["description"]
    assert routes == described | socket | own | FOR_PEOPLE


async def test_options_of_any_path_answers_its_methods(service: Service) -> None:
    for path, methods in HTTP["paths"].items():
        response = await service.call("OPTIONS", path.format_map(Ids()))
        assert response.status == 204, path
        allowed = set(response.headers["Allow"].split(", "))
        assert allowed == {method.upper() for method in methods} | {"OPTIONS"} | (
            {"HEAD"} if "get" in methods else set()
        )


class Ids(dict[str, str]):
    """Some value for each variable of a path."""

    def __missing__(self, name: str) -> str:
        return "x"


async def test_calls_that_are_said_to_be_open_ask_for_no_token(service: Service) -> None:
    for path, methods in HTTP["paths"].items():
        for method, call in methods.items():
            response = await service.call(method.upper(), path.format_map(Ids()), token=None)
            is_open = call.get("security") == []
            assert (response.status != 401) is is_open, (method, path)


async def test_the_documents_are_served(service: Service) -> None:
    for path, made in (("/openapi.json", HTTP), ("/asyncapi.json", SOCKET)):
        response = await service.get(path, token=None)
        assert response.content_type == "application/json"
        assert await response.json() == made
        etag = response.headers["ETag"]
        again = await service.get(path, token=None, headers={"If-None-Match": etag})
        assert (again.status, await again.text()) == (304, "")


async def test_the_documents_name_the_address_that_clients_use(start: Start) -> None:
    service = await start(public_url="https://operator.example/base")
    http = await (await service.get("/openapi.json")).json()
    assert http["servers"] == [{"url": "https://operator.example/base"}]
    socket = await (await service.get("/asyncapi.json")).json()
    assert socket["servers"]["operator"]["host"] == "operator.example"
    assert socket["servers"]["operator"]["protocol"] == "wss"


@pytest.mark.parametrize("document", [HTTP, SOCKET], ids=["openapi", "asyncapi"])
def test_all_references_lead_somewhere_and_all_components_are_used(document: Any) -> None:
    found = references(document)
    for reference in found:
        assert resolved(document, reference) is not None
    for kind in ("schemas", "responses", "headers", "messages"):
        for name in document["components"].get(kind, {}):
            assert f"#/components/{kind}/{name}" in found, name


def parts(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All objects of a document but its examples and its conditions, which generators skip, and
    the place of each."""
    if isinstance(value, dict):
        yield place, value
        for key, child in value.items():
            if key not in ("example", "examples", "if", "not"):
                yield from parts(child, f"{place}/{key}")
    elif isinstance(value, list):
        for child in value:
            yield from parts(child, place)


@pytest.mark.parametrize("document", [HTTP, SOCKET], ids=["openapi", "asyncapi"])
def test_schemas_say_what_generators_need(document: Any) -> None:
    for place, part in parts(document):
        if part.get("type") == "array":
            assert "items" in part, place
        if part.get("type") == "object":
            assert {"properties", "additionalProperties"} & part.keys(), place
        assert part.get("default", 0) is not None, place
        assert "allOf" not in part, place
        if len(part.get("enum", ())) > 1:
            assert place == f"/components/schemas/{part['title']}", place
    for name, schema in document["components"]["schemas"].items():
        assert not {"anyOf", "oneOf"} & schema.keys(), name


@pytest.mark.parametrize("document", [HTTP, SOCKET], ids=["openapi", "asyncapi"])
def test_every_field_is_described(document: Any) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, part in schema.get("properties", {}).items():
            assert part["description"].endswith("."), f"{name}.{field}"


def test_a_chat_and_a_tool_call_say_which_fields_go_together() -> None:
    for name in ("ChatBody", "ToolCallBody"):
        schema = HTTP["components"]["schemas"][name]
        assert schema["if"]["anyOf"]
        assert schema["else"] == {"not": {}}


def test_every_error_is_described_somewhere() -> None:
    told = {code for operation in CALLS for code in openapi.errors_of(operation)}
    # 405 is no answer of an operation: it says that there is none.
    # The peers' own failures are told within the answers about the system.
    elsewhere = {
        ErrorCode.METHOD_NOT_ALLOWED,
        ErrorCode.PEER_ERROR,
        ErrorCode.PEER_TIMEOUT,
        ErrorCode.PEER_UNAVAILABLE,
    }
    assert told | elsewhere == set(ErrorCode)


def test_every_body_has_an_example_that_fits() -> None:
    bodies = [operation for operation in CALLS if operation.body is not None]
    assert len(bodies) == 12
    for operation in bodies:
        assert operation.body is not None
        entry = HTTP["paths"][operation.path][operation.method.lower()]
        example = entry["requestBody"]["content"]["application/json"]["example"]
        assert msgspec.convert(example, operation.body) == operation.example


def test_every_answer_that_is_a_record_has_an_example_that_fits() -> None:
    for operation in CALLS:
        entry = HTTP["paths"][operation.path][operation.method.lower()]
        for status, answer in operation.answers.items():
            for media, kind in answer.content.items():
                content = entry["responses"][str(status)]["content"][media]
                if isinstance(kind, msgspec.Struct):
                    fits(content["example"], type(kind))
                else:
                    assert kind in (str, bytes, dict, None) or get_origin(kind) is list


def fits(example: Any, kind: type[msgspec.Struct]) -> None:
    """The example decodes, and has all fields that there can be, and no others."""
    msgspec.convert(example, kind)
    optional = {f.encode_name for f in msgspec.structs.fields(kind) if f.default is UNSET}
    fields = {field.encode_name for field in msgspec.structs.fields(kind)}
    tag = {"type"} if kind.__struct_config__.tag else set()
    assert fields - optional <= set(example) <= fields | tag, kind


def test_every_problem_has_examples_that_fit() -> None:
    for name, response in HTTP["components"]["responses"].items():
        content = response["content"]["application/problem+json"]
        assert list(content["examples"]) == name.split(".")
        for code, example in content["examples"].items():
            problem = msgspec.convert(example["value"], Problem)
            assert problem.error == code
            known = ErrorCode.named(code)
            assert known is not None
            assert problem.status == known.status
            assert problem.type == f"/errors/{code}"


def test_every_frame_is_described_with_an_example_that_fits() -> None:
    messages = SOCKET["components"]["messages"]
    expected = {asyncapi.name_of(f) for f in (*CLIENT_FRAMES, *SERVER_FRAMES)}
    assert set(messages) == expected | set(event_data.EVENT_DATA)
    for table, side in ((CLIENT_FRAMES, "client"), (SERVER_FRAMES, "server")):
        for frame in table:
            (example,) = messages[f"{side}.{asyncapi.type_of(frame)}"]["examples"]
            decoded = msgspec.json.decode(json.dumps(example["payload"]), type=frame)
            assert decoded == msgspec.convert(example["payload"], frame)
            assert example["payload"]["type"] == asyncapi.type_of(frame)


def test_every_event_is_described_with_an_example_that_fits() -> None:
    named = {
        event_names.SESSION_CREATED,
        event_names.SESSION_DELETED,
        event_names.MESSAGE_CREATED,
        event_names.MESSAGE_DELETED,
        event_names.REPLY_STARTED,
        *event_names.REPLY_ENDINGS,
        *event_names.RECORD_EVENTS,
    }
    assert set(event_data.EVENT_DATA) == named
    for name, struct in event_data.EVENT_DATA.items():
        (example,) = SOCKET["components"]["messages"][name]["examples"]
        frame = msgspec.convert(example["payload"], frames.EventFrame)
        assert frame.event == name
        fits(frame.data, struct)


def test_every_close_code_is_described() -> None:
    described = {int(code): reason for code, reason in SOCKET["x-close-codes"].items()}
    assert described == {code.value: code.reason for code in CloseCode}
    assert all(described.values())


async def test_events_are_as_they_are_described(both: Service) -> None:
    answer = await both.chat("hi", session_id="s")
    await both.post("/operator/chat", {"message": "[[500]]", "session_id": "s"})
    cancelled = await both.post(
        "/operator/chat",
        {"message": "[[rate=5]] [[tokens=500]]", "session_id": "s"},
        headers={"Prefer": "respond-async"},
    )
    await both.post(f"/operator/reply/{(await cancelled.json())['reply_id']}/cancel")
    for path, body in (
        ("/operator/tool/call", {"message_id": answer["reply_id"], "tool_name": "t",
                                 "status": "ok", "duration_ms": 3, "result": {"a": 1}}),
        ("/operator/switch/feedback", {"engine": "e", "success": False, "error_msg": "x",
                                       "session_id": "s"}),
        ("/operator/switch/adjustment", {"after_config": {"mode": "ECO"}, "reason": "r",
                                         "before_config": {}, "session_id": "s"}),
        ("/operator/browser/task", {"url": "gopher://nowhere/", "session_id": "s", "wait": 0}),
    ):  # fmt: skip
        response = await both.post(path, body)
        assert response.status in (200, 201, 202), await response.text()
    events = (await (await both.get("/operator/session/s/events?limit=1000")).json())["events"]
    seen = set()
    for event in events:
        struct = event_data.EVENT_DATA[event["event"]]
        fits(event["data"], struct)
        seen.add(event["event"])
    assert seen >= {
        "session.created", "message.created", "reply.started", "reply.completed", "reply.failed",
        "reply.cancelled", "tool_call.recorded", "switch_feedback.recorded",
        "switch_adjustment.recorded", "browser_task.queued",
    }  # fmt: skip
