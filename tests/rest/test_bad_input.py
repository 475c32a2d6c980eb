"""Bad input gets a clear answer that names the field, never a traceback, and harms nothing."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from operator_svc.protocol import decoding
from tests.fakes.threads import Threads
from tests.rest.conftest import Start
from tests.rest.rest_service import TOKEN, Service

JSON = {"Content-Type": "application/json"}
LONG = 32_000
COMPRESSED = b"what no inflating would get through"

BODIES: list[tuple[str, bytes, int, str, str | None]] = [
    ("nothing", b"", 400, "invalid_json", None),
    ("no JSON", b"hello", 400, "invalid_json", None),
    ("cut JSON", b'{"message": "hi"', 400, "invalid_json", None),
    ("two values", b'{"message": "hi"} {}', 400, "invalid_json", None),
    ("no UTF-8", b'{"message": "\xff\xfe"}', 400, "invalid_json", None),
    ("UTF-16", '{"message": "hi"}'.encode("utf-16"), 400, "invalid_json", None),
    ("a number that is none", b'{"message": "hi", "metadata": {"x": NaN}}', 400, "invalid_json",
     None),
    ("deep nesting", b'{"message": "hi", "metadata": {"x": ' + b"[" * 100_000, 400, "invalid_json",
     None),
    ("deep nesting that closes", b'{"message": "hi", "metadata": {"x": ' + b"[" * 5_000
     + b"]" * 5_000 + b"}}", 400, "invalid_json", None),
    ("more objects than anybody needs", b'{"message": "hi", "metadata": {"x": ['
     + b",".join([b"{}"] * 200_000) + b"]}}", 400, "invalid_json", None),
    ("a list", b"[]", 422, "validation_error", "body"),
    ("null", b"null", 422, "validation_error", "body"),
    ("a text", b'"hi"', 422, "validation_error", "body"),
    ("no message", b"{}", 422, "validation_error", "message"),
    ("null message", b'{"message": null}', 422, "validation_error", "message"),
    ("empty message", b'{"message": ""}', 422, "validation_error", "message"),
    ("a number as message", b'{"message": 5}', 422, "validation_error", "message"),
    ("a list as message", b'{"message": ["hi"]}', 422, "validation_error", "message"),
    ("too long", json.dumps({"message": "x" * 33_000}).encode(), 422, "validation_error",
     "message"),
    ("one too long", json.dumps({"message": "x" * (LONG + 1)}).encode(), 422, "validation_error",
     "message"),
    ("NUL", b'{"message": "a\\u0000b"}', 422, "validation_error", "message"),
    ("half a pair", b'{"message": "a\\ud800b"}', 422, "validation_error", "message"),
    ("the other half", b'{"message": "\\udc00"}', 422, "validation_error", "message"),
    ("NUL deep in metadata", b'{"message": "hi", "metadata": {"a": [{"b": "\\u0000"}]}}', 422,
     "validation_error", "metadata.a[0].b"),
    ("NUL in a key", b'{"message": "hi", "metadata": {"a\\u0000": 1}}', 422, "validation_error",
     "metadata"),
    ("half a pair in a key", b'{"message": "hi", "metadata": {"a\\ud800": 1}}', 422,
     "validation_error", "metadata"),
    ("metadata is no object", b'{"message": "hi", "metadata": [1]}', 422, "validation_error",
     "metadata"),
    ("a session id with a slash", b'{"message": "hi", "session_id": "a/b"}', 422,
     "validation_error", "session_id"),
    ("a session id with a line end", b'{"message": "hi", "session_id": "ab\\n"}', 422,
     "validation_error", "session_id"),
    ("an empty session id", b'{"message": "hi", "session_id": ""}', 422, "validation_error",
     "session_id"),
    ("500 characters of session id", json.dumps({"message": "hi", "session_id": "a" * 500})
     .encode(), 422, "validation_error", "session_id"),
    ("a number as session id", b'{"message": "hi", "session_id": 7}', 422, "validation_error",
     "session_id"),
    ("user id too long", json.dumps({"message": "hi", "user_id": "u" * 129}).encode(), 422,
     "validation_error", "user_id"),
    ("stream as text", b'{"message": "hi", "stream": "yes"}', 422, "validation_error", "stream"),
    ("key too long", json.dumps({"message": "hi", "client_message_id": "k" * 201}).encode(), 422,
     "validation_error", "client_message_id"),
    ("messages is no list", b'{"messages": "hi"}', 422, "validation_error", "messages"),
    ("messages are no objects", b'{"messages": ["hi"]}', 422, "validation_error", "messages[0]"),
    ("a message without content", b'{"messages": [{"role": "user"}]}', 422, "validation_error",
     "messages[0]"),
    ("no message of the user", b'{"messages": [{"role": "system", "content": "x"}]}', 422,
     "validation_error", "messages"),
    ("an empty message of the user", b'{"messages": [{"role": "user", "content": ""}]}', 422,
     "validation_error", "messages[0].content"),
    ("regenerate is no id", b'{"metadata": {"regenerate": "x"}}', 422, "validation_error",
     "metadata.regenerate"),
    ("too many bytes", b'{"message": "' + b"x" * 10_000_000 + b'"}', 413, "payload_too_large",
     None),
]  # fmt: skip


async def test_a_body_that_cannot_be_read_is_refused(service: Service) -> None:
    for name, body, status, error, field in BODIES:
        response = await service.call("POST", "/operator/chat", data=io.BytesIO(body), headers=JSON)
        shown = await response.json()
        assert (response.status, shown["error"]) == (status, error), (name, shown)
        assert response.content_type == "application/problem+json"
        assert shown["type"].endswith(f"/errors/{error}")
        assert shown["status"] == status
        assert shown["title"]
        assert shown["detail"]
        assert shown["request_id"] == response.headers["X-Request-ID"]
        assert "Traceback" not in await response.text()
        if status == 422:
            assert field in [entry["field"] for entry in shown["errors"]], (name, shown)
            assert all(entry["reason"] for entry in shown["errors"])
    await service.chat("the next one works")
    listed = await (await service.get("/operator/sessions")).json()
    assert len(listed["sessions"]) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/operator/chat", {"message": "hi", "context_summary": "x" * 70_000}),
        ("/operator/chat?user_id=u", {"message": "hi", "context_summary": "x" * 70_000}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi" * 40_000}]}),
        ("/v1/responses", {"model": "any", "input": "hi" * 40_000}),
    ],
)
async def test_a_large_body_is_not_read_on_the_event_loop(
    service: Service, path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads()
    for name in ("decode", "loads", "both"):
        monkeypatch.setattr(decoding, name, threads.noting(getattr(decoding, name)))
    await service.post(path, body)
    assert threads.others


async def test_every_wrong_field_is_named(service: Service) -> None:
    response = await service.post(
        "/operator/chat",
        {"message": 1, "session_id": "/", "metadata": 2, "stream": 3, "user_id": []},
    )
    fields = {entry["field"] for entry in (await response.json())["errors"]}
    assert fields == {"message", "session_id", "metadata", "stream", "user_id"}


async def test_wrong_fields_in_the_query_are_422_too(service: Service) -> None:
    response = await service.call("POST", "/operator/chat?message=hi&session_id=a%2Fb&stream=maybe")
    shown = await response.json()
    assert response.status == 422
    assert {entry["field"] for entry in shown["errors"]} == {"session_id", "stream"}
    nul = await service.call("POST", "/operator/chat?message=a%00b")
    assert (nul.status, (await nul.json())["errors"][0]["field"]) == (422, "message")


TEXTS = ["漢" * LONG, "😀" * LONG, "x" * LONG, "é\u0301" * (LONG // 2), "\u2028\ufeff\u202e'\"\\%_"]


async def test_a_message_of_any_text_is_accepted(both: Service) -> None:
    for number, message in enumerate(TEXTS):
        answer = await both.chat(message, session_id=f"text-{number}")
        history = await (await both.get(f"/operator/session/text-{number}")).json()
        assert history["messages"][0]["content"] == message
        assert history["messages"][1]["content"] == answer["response"]


async def test_unknown_fields_are_ignored(service: Service) -> None:
    answer = await service.chat("hi", temperature=0.7, session_id="unknown-fields", nested={"a": 1})
    assert answer["response"] == "[stand-in] You said: hi"


TYPES = [
    ("application/json", 200),
    ("application/json; charset=utf-8", 200),
    ("Application/JSON", 200),
    ("application/vnd.vx11+json", 200),
    ("", 200),
    ("text/plain", 415),
    ("application/x-www-form-urlencoded", 415),
    ("multipart/form-data; boundary=x", 415),
    ("application/jsonp", 415),
]


async def test_a_body_that_is_not_json_by_its_type_is_415(service: Service) -> None:
    for content_type, status in TYPES:
        headers = {"Content-Type": content_type}
        response = await service.call(
            "POST", "/operator/chat", data=b'{"message": "hi"}', headers=headers
        )
        assert response.status == status, content_type
        if status == 415:
            assert (await response.json())["error"] == "unsupported_media_type"


async def test_a_body_without_a_type(service: Service) -> None:
    response = await service.call(
        "POST", "/operator/chat", data=b'{"message": "hi"}', skip_auto_headers=["Content-Type"]
    )
    assert response.status == 200


async def test_a_body_over_the_limit_is_413(start: Start) -> None:
    service = await start(max_body=2048)

    async def status(body: bytes, **kwargs: Any) -> int:
        headers = JSON | kwargs.pop("headers", {})
        response = await service.call(
            "POST", "/operator/chat", data=kwargs.pop("data", body), headers=headers, **kwargs
        )
        return response.status

    def padded(size: int) -> bytes:
        body = b'{"message": "hi", "padding": ""}'
        return body[:-2] + b"x" * (size - len(body)) + b'"}'

    async def in_pieces(body: bytes) -> Any:
        for at in range(0, len(body), 500):
            yield body[at : at + 500]

    assert await status(padded(2048)) == 200
    assert await status(padded(2049)) == 413
    assert await status(b"", data=in_pieces(padded(2048))) == 200
    assert await status(b"", data=in_pieces(padded(2049))) == 413


async def test_a_wrong_idempotency_key_is_400(service: Service) -> None:
    for key in ("", "k" * 201, "caf\u00e9"):
        response = await service.post(
            "/operator/chat", {"message": "hi"}, headers={"Idempotency-Key": key}
        )
        shown = await response.json()
        assert (response.status, shown["error"]) == (400, "invalid_parameter")
        assert shown["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP, gzip", "x-unknown"])
async def test_a_compressed_body_is_415_and_not_inflated(service: Service, encoding: str) -> None:
    for method, path, token, expected in (
        ("POST", "/operator/chat", TOKEN, 415),
        ("POST", "/operator/switch/feedback", TOKEN, 415),
        ("DELETE", "/operator/session/s", TOKEN, 415),
        ("POST", "/operator/chat", None, 401),
        ("POST", "/nope", None, 404),
    ):
        response = await service.call(
            method, path, token=token, data=COMPRESSED,
            headers={"Content-Encoding": encoding, "Content-Type": "application/json"},
        )  # fmt: skip
        assert response.status == expected, path
    assert (await service.post("/operator/chat", {"message": "hi"},
                               headers={"Content-Encoding": "identity"})).status == 200  # fmt: skip


async def test_metadata_with_fields_of_operators_own_is_422(service: Service) -> None:
    body = {"message": "hi", "metadata": {"openai": {"parameters": {"model": "another"}}}}
    response = await service.post("/operator/chat", body)
    assert response.status == 422
    assert (await response.json())["errors"][0]["field"] == "metadata.openai"


async def test_metadata_of_a_chat_beyond_64_kib_is_422(service: Service) -> None:
    fits = {"text": "x" * (64 * 1024 - len('{"text":""}'))}
    assert (await service.post("/operator/chat", {"message": "hi", "metadata": fits})).status == 200
    fits["text"] += "x"
    response = await service.post("/operator/chat", {"message": "hi", "metadata": fits})
    assert response.status == 422
    assert [fault["field"] for fault in (await response.json())["errors"]] == ["metadata"]
