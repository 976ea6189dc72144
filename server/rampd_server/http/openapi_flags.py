"""The part of `/openapi.json` about flags: OpenFeature's remote evaluation protocol (OFREP), as far as rampd uses it."""

from collections.abc import Mapping
from typing import Any, Final

from rampd._contract.grammar import MAX_BATCH
from rampd_server.http.evaluation import JOB_ID, REASONS, TARGETING_KEY, UNKNOWN, ErrorCode
from rampd_server.http.ofrep import FLAGS

_Schema = dict[str, Any]

TAG: Final = {"name": "Flags", "description": "Components as flags, by OpenFeature's remote evaluation protocol."}

_REQUEST, _FLAG, _BULK, _ERROR = "ofrep.Request", "ofrep.Flag", "ofrep.Flags", "ofrep.Error"
_OF_EACH: Final = {
    "400": "PARSE_ERROR, TARGETING_KEY_MISSING or INVALID_CONTEXT: the question is wrong. GENERAL: there are too many flags.",
    "401": "There is no credential, or it is wrong.",
    "403": "The caller may not resolve.",
    "415": "PARSE_ERROR: the content type is not application/json.",
    "429": "The caller is over a limit. The header `retry-after` has the seconds to wait.",
    "503": "The server has no state yet, or stops.",
}
_METADATA: Final = {
    "type": "object",
    "description": "The release, the revision, and what else the answer of Resolve has.",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}


def paths() -> _Schema:
    """Returns what `/openapi.json` says about flags, by path."""
    not_found = {"404": "FLAG_NOT_FOUND: there is no such component for the caller."}
    one = _operation("EvaluateFlag", "Evaluates the flag of a component", _FLAG, _OF_EACH | not_found)
    every = _operation("EvaluateFlags", f"Evaluates all flags, at most {MAX_BATCH}", _BULK, _OF_EACH)
    one["parameters"] = [{"name": "component", "in": "path", "required": True, "schema": {"type": "string"}}]
    every["parameters"] = [{"name": "if-none-match", "in": "header", "schema": {"type": "string"}}]
    every["responses"]["200"]["headers"] = {"etag": {"schema": {"type": "string"}}}
    every["responses"]["304"] = {"description": "Nothing has changed since the answer with this ETag."}
    return {f"{FLAGS}/{{component}}": {"post": one}, FLAGS: {"post": every}}


def schemas() -> _Schema:
    """The messages, by their names."""
    flag = {
        "key": _text("The component."),
        "value": _text("The tag to run."),
        "variant": _text("`current` or `next`; the tag if an override names it."),
        "reason": {
            "enum": sorted({*REASONS.values(), UNKNOWN}),
            "description": "In OpenFeature's words. `rampd_reason` of the metadata is more exact.",
        },
        "metadata": _METADATA,
    }
    error = {
        "key": _text("The component."),
        "errorCode": {"enum": [*ErrorCode]},
        "errorDetails": _text("What is wrong and what to do, for people."),
        "metadata": {"type": "object", "properties": {"rampd_reason": _text("A name of rampd.v1.ErrorReason.")}},
    }
    context = {
        "type": "object",
        "description": "Other keys have no effect.",
        "properties": {
            TARGETING_KEY: _text("The repo that the job is for, such as acme/app."),
            JOB_ID: _text("The job."),
        },
        "required": [TARGETING_KEY],
    }
    either = {"anyOf": [_reference(_FLAG), _reference(_ERROR)]}
    return {
        _REQUEST: _object({"context": context}, "context"),
        _FLAG: _object(flag, *flag),
        _BULK: _object({"flags": {"type": "array", "items": either}}, "flags"),
        _ERROR: _object(error, "errorCode", "errorDetails"),
    }


def _operation(name: str, summary: str, answer: str, errors: Mapping[str, str]) -> dict[str, Any]:
    other = _json(_reference(_ERROR))
    return {
        "operationId": name,
        "tags": [TAG["name"]],
        "summary": summary,
        "description": f"{summary}, by OpenFeature's remote evaluation protocol. The answers are those of Resolve.",
        "requestBody": {"required": True, "content": _json(_reference(_REQUEST))},
        "responses": {
            "200": {"description": "The answer.", "content": _json(_reference(answer))},
            **{status: {"description": text, "content": other} for status, text in errors.items()},
            "default": {"description": "Another refusal.", "content": other},
        },
    }


def _object(properties: Mapping[str, Any], *required: str) -> _Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _text(description: str) -> _Schema:
    return {"type": "string", "description": description}


def _json(schema: Mapping[str, Any]) -> _Schema:
    return {"application/json": {"schema": schema}}


def _reference(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}
