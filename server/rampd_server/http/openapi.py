"""`/openapi.json`: the calls with JSON as OpenAPI 3.1, from the descriptors, their comments and the rules of the fields.

Streams are not in it, because OpenAPI has no word for their envelopes.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor
from google.rpc import code_pb2, status_pb2
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rampd._contract.comments import comment_of
from rampd._contract.field_rules import is_required, rule_of
from rampd_server.http import openapi_flags
from rampd_server.http.connect import has_get
from rampd_server.http.errors import STATUS_OF, code_of
from rampd_server.rpc.binding import SERVICES

_Schema = dict[str, Any]

_WHOLE_NUMBER: Final = {"type": "string", "pattern": "^-?[0-9]+$", "format": "int64"}
_SCALARS: Final[Mapping[int, _Schema]] = {
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "minimum": -(1 << 31), "maximum": (1 << 31) - 1},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1},
    FieldDescriptor.TYPE_INT64: _WHOLE_NUMBER,
    FieldDescriptor.TYPE_UINT64: _WHOLE_NUMBER,
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_KNOWN: Final[Mapping[str, _Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string", "description": "Names of fields, with commas between."},
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
}
_ERROR: Final = "Error"
_HEALTH_PATHS: Final = ("/healthz", "/readyz", "/readyz/reads", "/readyz/writes", "/readyz/components")
_HEALTH: Final = {
    "type": "object",
    "properties": {"status": {"enum": ["SERVING", "NOT_SERVING"]}, "parts": {"type": "object"}},
    "required": ["status"],
}


def routes() -> list[BaseRoute]:
    """`/openapi.json`."""

    async def openapi(_request: Request) -> Response:
        return Response(_written(), media_type="application/json")

    return [Route("/openapi.json", openapi)]


def document() -> _Schema:
    """The description."""
    methods = [method for service in SERVICES.values() for method in service.methods if not method.server_streaming]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rampd",
            "version": metadata.version("rampd"),
            "description": "Version rollouts for jobs and workers. Each call is a POST with JSON. Numbers of 64 bits are strings "
            "in answers, and may be numbers in requests. A field that is absent has the default of its type. Watch and "
            "WatchRelease are streams of Connect's protocol, which OpenAPI can't describe.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [
            *({"name": service.name, "description": _comment(service)} for service in SERVICES.values()),
            openapi_flags.TAG,
        ],
        "paths": {
            **{f"/{method.containing_service.full_name}/{method.name}": _path(method) for method in methods},
            **openapi_flags.paths(),
            **{path: {"get": _health(path)} for path in _HEALTH_PATHS},
        },
        "components": {
            "schemas": {**_schemas(methods), **openapi_flags.schemas(), _ERROR: _error()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        # Whether a server asks for a token depends on its --access-file.
        "security": [{}, {"token": []}],
    }


@cache
def _written() -> bytes:
    return json.dumps(document(), ensure_ascii=False).encode()


def _path(method: MethodDescriptor) -> _Schema:
    asked = _json_of(method.input_type.full_name)
    post = _operation(method) | {"requestBody": {"required": True, "content": asked}}
    if not has_get(method):
        return {"post": post}
    parameters = [
        {"name": "encoding", "in": "query", "required": True, "schema": {"enum": ["json"]}},
        {"name": "message", "in": "query", "required": True, "content": asked},
    ]
    return {"post": post, "get": _operation(method) | {"operationId": f"{method.name}ByGet", "parameters": parameters}}


def _operation(method: MethodDescriptor) -> _Schema:
    text = _comment(method)
    return {
        "operationId": method.name,
        "tags": [method.containing_service.name],
        "summary": text.partition(". ")[0].rstrip("."),
        "description": text,
        "responses": {
            "200": {"description": "The answer.", "content": _json_of(method.output_type.full_name)},
            "default": {"description": "A refusal or an error.", "content": _json_of(_ERROR)},
        },
    }


def _health(path: str) -> _Schema:
    content = {"application/json": {"schema": _HEALTH}}
    serving = {"200": {"description": "It is served.", "content": content}}
    not_serving = {"503": {"description": "It is not served; the answer says why.", "content": content}}
    return {
        "operationId": path[1:].replace("/", "_"),
        "tags": ["Health"],
        "security": [],
        "responses": serving if path == "/healthz" else serving | not_serving,
    }


def _json_of(name: str) -> _Schema:
    return {"application/json": {"schema": _reference(name)}}


def _reference(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _error() -> _Schema:
    codes = sorted({code_of(status_pb2.Status(code=code)) for code in STATUS_OF} | {"unknown"})
    assert code_pb2.OK not in STATUS_OF  # noqa: S101 - an error is never this
    return {
        "type": "object",
        "description": "An error as Connect's protocol has it. `debug` of google.rpc.ErrorInfo has the reason "
        "(rampd.v1.ErrorReason) and its metadata.",
        "properties": {
            "code": {"enum": codes},
            "message": {"type": "string", "description": "What is wrong and what to do, for people."},
            "details": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "description": "The name of the message in `value`."},
                        "value": {"type": "string", "contentEncoding": "base64"},
                        "debug": {"type": "object", "description": "The message as JSON."},
                    },
                    "required": ["type", "value"],
                },
            },
        },
        "required": ["code", "message"],
    }


def _schemas(methods: list[MethodDescriptor]) -> dict[str, _Schema]:
    asked = {each.full_name for method in methods for each in _within(method.input_type)}
    found: dict[str, _Schema] = {}
    for method in methods:
        for kind in (*_within(method.input_type), *_within(method.output_type)):
            if isinstance(kind, EnumDescriptor):
                found[kind.full_name] = _enum(kind)
            else:
                found[kind.full_name] = _message(kind, is_asked=kind.full_name in asked)
        # Only of a request is it a mistake. To an answer, a later version may add fields.
        found[method.input_type.full_name]["additionalProperties"] = False
    return dict(sorted(found.items()))


def _within(kind: Descriptor) -> Iterator[Descriptor | EnumDescriptor]:
    """A message, and every message and enum in it."""
    found: dict[str, Descriptor | EnumDescriptor] = {}
    waiting = [kind]
    while waiting:
        each = waiting.pop()
        if each.full_name in found or each.full_name in _KNOWN:
            continue
        if not each.GetOptions().map_entry:
            found[each.full_name] = each
        for field in each.fields:
            if field.enum_type is not None:
                found[field.enum_type.full_name] = field.enum_type
            elif field.message_type is not None:
                waiting.append(field.message_type)
    yield from found.values()


def _enum(kind: EnumDescriptor) -> _Schema:
    values = "\n".join(f"- `{each.name}`: {comment_of(f'{kind.full_name}.{each.name}')}" for each in kind.values)
    return {
        "type": "string",
        "enum": [value.name for value in kind.values],
        "description": f"{_comment(kind)}\n\n{values}",
    }


def _message(kind: Descriptor, *, is_asked: bool) -> _Schema:
    schema: _Schema = {
        "type": "object",
        "description": _comment(kind),
        "properties": {field.json_name: _described(field, is_asked=is_asked) for field in kind.fields},
    }
    if is_asked and (required := [field.json_name for field in kind.fields if is_required(field)]):
        schema["required"] = required
    return {key: value for key, value in schema.items() if value != ""}


def _described(field: FieldDescriptor, *, is_asked: bool) -> _Schema:
    """The schema of a field with its comment and, in a request, its rule."""
    texts, schema = [_comment(field)], _of_one(field)
    rule = rule_of(field) if is_asked else None
    if rule is not None and rule.pattern:
        schema = schema | {"pattern": rule.pattern}
    if rule is not None and rule.expected and field.enum_type is None:
        texts.append(f"Must be {rule.expected}.")
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        schema = {"type": "object", "additionalProperties": _of_one(field.message_type.fields_by_name["value"])}
    elif field.is_repeated:
        schema = {"type": "array", "items": schema}
        if rule is not None and rule.whole is not None and rule.whole.required:
            schema["minItems"] = 1
    elif is_asked and rule is not None and rule.pattern and not is_required(field):
        # The empty text is the same as an absent one.
        schema["pattern"] = f"^$|{rule.pattern}"
    description = " ".join(filter(None, texts))
    return schema | {"description": description} if description else schema


def _of_one(field: FieldDescriptor) -> _Schema:
    if field.enum_type is not None:
        return _reference(field.enum_type.full_name)
    if field.message_type is not None:
        name = field.message_type.full_name
        return dict(_KNOWN[name]) if name in _KNOWN else _reference(name)
    return dict(_SCALARS[field.type])


def _comment(thing: Any) -> str:  # noqa: ANN401 - any kind of descriptor
    return comment_of(thing.full_name)
