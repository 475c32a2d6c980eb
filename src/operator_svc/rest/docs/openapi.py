"""``/openapi.json``: OpenAPI 3.1, made from the declarations of the calls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin

import msgspec

from operator_svc import __version__
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import headers
from operator_svc.protocol.openai_answers import ErrorAnswer
from operator_svc.protocol.problems import CONTENT_TYPE, Problem
from operator_svc.rest.docs import examples
from operator_svc.rest.docs.descriptions import FROM_QUERY, HEADERS, PATH_IDS, STREAMED, TAGS
from operator_svc.rest.docs.schema_rules import add_to
from operator_svc.rest.docs.schemas import name_enums, schema_of, schemas_of
from operator_svc.rest.openai import errors as openai_errors
from operator_svc.rest.routing import JSON, Answer, Operation, Parameter

ALWAYS = (ErrorCode.INVALID_PARAMETER, ErrorCode.FORBIDDEN, ErrorCode.INTERNAL_ERROR)
"""Errors of every call: it cannot be read, its origin is foreign, or Operator has a fault."""
WITH_TOKEN = (
    ErrorCode.AUTH_REQUIRED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.AUTH_UNAVAILABLE,
    ErrorCode.DATABASE_UNAVAILABLE,
)


def document(operations: Iterable[Operation], server: str = "") -> dict[str, Any]:
    """The document of ``operations``; ``server`` is the address that clients use, if it is
    another than this."""
    described = [operation for operation in operations if operation.tag is not None]
    paths: dict[str, dict[str, Any]] = {}
    for operation in described:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    made = {
        "openapi": "3.1.0",
        "info": {
            "title": "Operator",
            "version": __version__,
            "summary": "A chat backend in front of VX11's Switch or any OpenAI-compatible server.",
            "description": "Errors are problem details (RFC 9457). Times are RFC 3339 in UTC. "
            "Unknown fields of a body are ignored. The websocket is described in /asyncapi.json.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server or "/"}],
        "tags": [{"name": name, "description": meaning} for name, meaning in TAGS.items()],
        "security": [{"token": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(described),
            "responses": _problem_responses(described),
            "headers": {
                name: {"description": meaning, "schema": {"type": "string"}}
                for name, meaning in HEADERS.items()
            },
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": headers.TOKEN,
                    "description": "Without a token the answer is 401, with a wrong one 403. "
                    "Not needed with `OPERATOR_AUTH=off`.",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The same token, for clients that send it so.",
                },
            },
        },
    }
    name_enums(made)
    return made


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    shown: dict[type[msgspec.Struct], msgspec.Struct | None] = {Problem: None, ErrorAnswer: None}
    for operation in operations:
        for answer in operation.answers.values():
            for content in answer.content.values():
                if isinstance(content, msgspec.Struct):
                    shown[type(content)] = content
                elif get_origin(content) is list:
                    (item,) = get_args(content)
                    shown.setdefault(item, None)
        if operation.body is not None:
            shown[operation.body] = operation.example
    schemas = schemas_of(shown)
    for operation in operations:
        if operation.body is not None:
            add_to(schemas[operation.body.__name__], operation.rules)
    return schemas


# Operations.


def _operation(operation: Operation) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "operationId": operation_id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    from_query = operation.body is not None and operation.tag != "openai"
    detail = [operation.detail, FROM_QUERY if from_query else ""]
    if any(detail):
        shown["description"] = " ".join(filter(None, detail))
    if operation.auth == "open":
        shown["security"] = []
    names = re.findall(r"\{(\w+)\}", operation.path)
    parameters = [_path_parameter(name) for name in names]
    parameters += [_parameter(parameter) for parameter in operation.parameters]
    if parameters:
        shown["parameters"] = parameters
    if operation.body is not None:
        content: dict[str, Any] = {"schema": schema_of(operation.body)}
        if operation.example is not None:
            content["example"] = examples.shown(operation.example)
        shown["requestBody"] = {"required": True, "content": {JSON: content}}
    shown["responses"] = {
        str(status): _answer(answer, operation) for status, answer in operation.answers.items()
    } | _problems(operation)
    return shown


def operation_id(operation: Operation) -> str:
    """A name for generated clients, that of its handler: ``getSession`` and the like."""
    first, *others = operation.handler.__name__.split("_")
    return "".join([first, *map(str.title, others)])


def _path_parameter(name: str) -> dict[str, Any]:
    kind, meaning = PATH_IDS[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": meaning,
        "schema": schema_of(kind),
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": str(parameter.name),  # a header's may be an istr, which JSON knows nothing of
        "in": parameter.place,
        "description": parameter.meaning,
        "schema": schema_of(parameter.kind),
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _answer(answer: Answer, operation: Operation) -> dict[str, Any]:
    rates = () if operation.auth == "open" else ("RateLimit", "RateLimit-Policy")
    shown: dict[str, Any] = {
        "description": answer.meaning,
        "headers": _headers(("X-Request-ID", *rates, *answer.headers)),
    }
    for media, kind in answer.content.items():
        content: dict[str, Any] = {}
        if kind is None:
            content["schema"] = STREAMED
        elif kind is dict:
            content["schema"] = {"type": "object", "additionalProperties": True}
        elif isinstance(kind, msgspec.Struct):
            content["schema"] = schema_of(type(kind))
            content["example"] = examples.shown(kind)
        else:
            content["schema"] = schema_of(kind)
        shown.setdefault("content", {})[media] = content
    return shown


def errors_of(operation: Operation) -> list[ErrorCode]:
    """All errors that a call may be answered with."""
    more = () if operation.auth == "open" else WITH_TOKEN
    return list(dict.fromkeys((*ALWAYS, *more, *operation.errors)))


def _problems(operation: Operation) -> dict[str, Any]:
    if openai_errors.is_below(operation.path):
        return _openai_failures(operation)
    return {
        str(status): {"$ref": f"#/components/responses/{_name(codes)}"}
        for status, codes in _by_status(operation).items()
    }


def _openai_failures(operation: Operation) -> dict[str, Any]:
    found: dict[int, list[ErrorCode]] = {}
    for code in errors_of(operation):
        found.setdefault(openai_errors.status_of(OperatorError(code, "")), []).append(code)
    return {
        str(status): {
            "description": "; ".join(f"`{code}`: {code.summary}" for code in codes),
            "headers": _headers(("X-Request-ID", *_headers_of(status))),
            "content": {JSON: {"schema": schema_of(ErrorAnswer)}},
        }
        for status, codes in sorted(found.items())
    }


def _by_status(operation: Operation) -> dict[int, tuple[ErrorCode, ...]]:
    found: dict[int, tuple[ErrorCode, ...]] = {}
    for code in errors_of(operation):
        found[code.status] = (*found.get(code.status, ()), code)
    return dict(sorted(found.items()))


def _name(codes: Iterable[ErrorCode]) -> str:
    return ".".join(codes)


def _problem_responses(operations: Iterable[Operation]) -> dict[str, Any]:
    """Each set of errors of one status that a call may be answered with, once."""
    sets = {
        codes
        for operation in operations
        if not openai_errors.is_below(operation.path)
        for codes in _by_status(operation).values()
    }
    return {_name(codes): _problem_response(codes) for codes in sorted(sets)}


def _problem_response(codes: tuple[ErrorCode, ...]) -> dict[str, Any]:
    return {
        "description": "; ".join(f"`{code}`: {code.summary}" for code in codes),
        "headers": _headers(("X-Request-ID", *_headers_of(codes[0].status))),
        "content": {
            CONTENT_TYPE: {
                "schema": schema_of(Problem),
                "examples": {str(code): {"value": examples.problem(code)} for code in codes},
            }
        },
    }


def _headers_of(status: int) -> tuple[str, ...]:
    if status in (429, 503):
        return ("Retry-After",)
    return ("WWW-Authenticate",) if status == 401 else ()
