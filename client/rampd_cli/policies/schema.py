"""The JSON Schema of a file with policies, from the descriptors, their comments and the rules of the fields.

An editor completes and checks with it. It describes what people write, and `policy apply` also reads the names and values of the
API's JSON. Rules between fields are not in it: `policy apply` checks them, and then the server.
"""

import json
from typing import TYPE_CHECKING, Any, Final, cast

from rampd_cli.policies.reading import ROOT, numbers_of, prefix_of

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

_Schema = dict[str, Any]

_DURATION: Final = r"^(?=.)([0-9]+(\.[0-9]+)?d)?([0-9]+(\.[0-9]+)?h)?([0-9]+(\.[0-9]+)?m)?([0-9]+(\.[0-9]+)?s)?$"
_BOUNDS: Final = ("min", "max")


def schema_text() -> str:
    """Returns the schema as JSON."""
    return json.dumps(schema(), ensure_ascii=False, indent=2) + "\n"


def schema() -> _Schema:
    """Returns the schema. It is of draft 7, which all editors know."""
    from rampd import v1  # noqa: PLC0415 - it is slow to import
    from rampd._contract.grammar import COMPONENT  # noqa: PLC0415

    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Policies of rampd",
        "description": "The settings of components. `rampd policy apply FILE` sets them.",
        "type": "object",
        "properties": {
            ROOT: {
                "description": "The name of each component, with its whole policy: a field that is left out is at its default.",
                "type": "object",
                "propertyNames": {"pattern": COMPONENT.pattern},
                "additionalProperties": _message(cast("Descriptor", v1.Policy.DESCRIPTOR)),
            }
        },
        "required": [ROOT],
        "additionalProperties": False,
    }


def _message(kind: "Descriptor") -> _Schema:
    from rampd._contract.comments import comment_of  # noqa: PLC0415
    from rampd._contract.field_rules import is_required  # noqa: PLC0415

    found: _Schema = {
        "type": "object",
        "description": comment_of(kind.full_name),
        "properties": {field.name: _field(field) for field in kind.fields},
        "additionalProperties": False,
    }
    if required := [field.name for field in kind.fields if is_required(field)]:
        found["required"] = required
    if all(name in kind.fields_by_name for name in _BOUNDS):
        found["anyOf"] = [{"required": [name]} for name in _BOUNDS]
    return found


def _field(field: "FieldDescriptor") -> _Schema:
    from rampd._contract.comments import comment_of  # noqa: PLC0415
    from rampd._contract.field_rules import rule_of  # noqa: PLC0415

    rule = rule_of(field)
    texts = [comment_of(field.full_name)]
    if field.enum_type is not None:
        names, prefix = numbers_of(field.enum_type), prefix_of(field.enum_type)
        texts += [f"\n- {name}: {comment_of(f'{field.enum_type.full_name}.{prefix}{name}')}" for name in names]
        full = f"^{prefix}({'|'.join(names)})$"
        of_field: _Schema = {"anyOf": [{"enum": [*names]}, {"type": "string", "pattern": full}]}
    elif field.message_type is None:
        of_field = _scalar(field, rule)
    elif field.message_type.full_name == "google.protobuf.Duration":
        of_field = {"type": "string", "pattern": _DURATION}
        texts.append("Such as 90s, 10m, 1h30m or 7d.")
    else:
        of_field = {"type": "array", "items": _message(field.message_type)}
        if rule.whole is not None and rule.whole.most is not None:
            of_field["maxItems"] = rule.whole.most
    return {"description": " ".join(texts).replace(" \n", "\n"), **of_field}


def _scalar(field: "FieldDescriptor", rule: Any) -> _Schema:
    bounds = {name: value for name, value in (("minimum", rule.least), ("maximum", rule.most)) if value is not None}
    if field.cpp_type == field.CPPTYPE_BOOL:
        return {"type": "boolean"}
    if field.cpp_type == field.CPPTYPE_INT64:
        return {"type": "integer", **bounds}
    if field.cpp_type == field.CPPTYPE_DOUBLE:
        return {"type": "number", **bounds}
    return {"type": "string", **({"pattern": rule.pattern} if rule.pattern else {"minLength": 1})}
