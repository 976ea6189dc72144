"""The places that CONTRIBUTING.md lists for a new verb and a new field: each one names all present verbs or fields."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from rampd import v1
from rampd.v1 import rollout_service_pb2
from rampd_cli.advice import command_of_verb
from rampd_server.domain.rollout.model import Rollout
from rampd_server.storage.codec.rollout_hash import FIELDS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()

CONTRACT = "client/rampd/_contract/field_rules.py"
DOMAIN = "server/rampd_server/domain/rollout"
RPC = "server/rampd_server/rpc"
CODEC = "server/rampd_server/storage/codec"
COMMANDS = "client/rampd_cli/commands/"

Pattern = Callable[[str], str | list[str]]
"""What a place has of a verb or a field, by its name in the proto: a pattern, or several."""


def snake(verb: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", verb).lower()


# Overrides are not part of the state machine.
VERBS = {
    method.name: [
        field
        for field in method.input_type.fields
        if field.name not in ("request_id", "expected_revision", "note", "dry_run")
    ]
    for method in rollout_service_pb2.DESCRIPTOR.services_by_name["RolloutService"].methods
    if "request_id" in method.input_type.fields_by_name and "Override" not in method.name
}
PLACES_OF_A_VERB: Mapping[str, Pattern] = {
    "proto/rampd/v1/rollout_service.proto": r"rpc {}\(".format,
    CONTRACT: lambda verb: [rf'"(\w+\.)?{field.name}":' for field in VERBS[verb]],
    f"{DOMAIN}/commands.py": r"class {}\(".format,
    f"{DOMAIN}/transition.py": r"commands\.{}\b".format,
    "docs/state-machine.md": r"\| `{}\b".format,
    "docs/security.md": r"\| `{}`".format,
    f"{RPC}/rollout.py": lambda verb: rf"async def {snake(verb)}\(",
    "client/rampd/_verbs/verbs.py": lambda verb: rf"def {snake(verb)}\(",
    "client/rampd/admin.py": lambda verb: rf"\b{snake(verb)} = ",
    "client/rampd/aio.py": lambda verb: rf"\b{snake(verb)} = ",
    COMMANDS: lambda verb: rf'session, "{snake(verb)}"|\b{snake(verb)}\(session\.admin',
    "client/rampd_cli/app.py": lambda verb: rf'"{command_of_verb(verb).partition(" ")[0]}": "',
}

# `component` names the target, `all` and `confirm` are not fields of a command, and a policy has its own list.
REQUEST_FIELDS = {
    field.name: field
    for of_verb in VERBS.values()
    for field in of_verb
    if field.name not in ("component", "all", "confirm", "policy", "update_mask")
}
POLICY_FIELDS = {field.name: field for field in v1.Policy.DESCRIPTOR.fields if field.name not in ("queue_mode", "unit")}
# Another module shows the counts of a rollout, and its largest parts have their own keys.
COUNTED = {"outcomes", "evidence", "current_outcomes"}
KEYS_OF_THEIR_OWN = {"component", "releases", "queue", "quarantine", "timeline"}


def in_domain(name: str, field: FieldDescriptor) -> str:
    """Returns the name in the domain, where shares are basis points and times are milliseconds."""
    kind = "" if field.message_type is None else field.message_type.name
    if kind in ("Duration", "Timestamp"):
        return f"{name.removesuffix('_time')}_ms"
    return name.replace("percent", "basis_points")


PLACES_OF_A_REQUEST_FIELD: Mapping[str, Pattern] = {
    "proto/rampd/v1/rollout_service.proto": r" {} = \d".format,
    CONTRACT: r'"(\w+\.)?{}":'.format,
    f"{DOMAIN}/commands.py": lambda name: rf"    {in_domain(name, REQUEST_FIELDS[name])}: ",
    f"{RPC}/rollout.py": r"request\.{}\b".format,
    "client/rampd/_verbs/verbs.py": r"\b{}: ".format,
    COMMANDS: r"\b{}=".format,
}
PLACES_OF_A_POLICY_FIELD: Mapping[str, Pattern] = {
    "proto/rampd/v1/rollout.proto": r" {} = \d".format,
    CONTRACT: r'"(\w+\.)?{}":'.format,
    f"{DOMAIN}/automation_policy.py": lambda name: rf"    {in_domain(name, POLICY_FIELDS[name])}: ",
    f"{RPC}/messages/policy.py": r'"{}": '.format,
    f"{CODEC}/automation_texts.py": lambda name: rf'"{in_domain(name, POLICY_FIELDS[name])}": ',
    "docs/automation.md": r"\b{}\b".format,
    "docs/policy.schema.json": r'"{}": '.format,
}
PLACES_OF_A_ROLLOUT_FIELD: Mapping[str, Pattern] = {
    f"{DOMAIN}/model.py": r"    {}: ".format,
    f"{CODEC}/rollout_hash.py": r'"{}"'.format,
    "docs/redis-keys.md": lambda name: [rf'[`"]{text.name}[`" ,]' for text in FIELDS if text.attribute == name],
}
PLACES_OF_A_SHOWN_FIELD: Mapping[str, Pattern] = {
    "proto/rampd/v1/rollout.proto": r" {} = \d".format,
    f"{RPC}/messages/convert.py": r"\b{}\b".format,
}


def wanted(pattern: Pattern, name: str) -> list[str]:
    found = pattern(name)
    return [found] if isinstance(found, str) else found


def text_of(path: str) -> str:
    """Returns the text of a place: a file, or all files of a folder."""
    place = ROOT / path
    return "\n".join(each.read_text() for each in ([place] if place.is_file() else sorted(place.glob("*.py"))))


def missing(names: Iterable[str], pattern: Pattern, text: str) -> list[str]:
    return [name for name in names if not all(re.search(each, text) for each in wanted(pattern, name))]


LISTS: Mapping[str, tuple[list[str], Mapping[str, Pattern]]] = {
    "A verb": (list(VERBS), PLACES_OF_A_VERB),
    "A field of a verb's request": (list(REQUEST_FIELDS), PLACES_OF_A_REQUEST_FIELD),
    "A field of a policy's automation": (list(POLICY_FIELDS), PLACES_OF_A_POLICY_FIELD),
    "A field of a rollout": (
        [field.name for field in fields(Rollout) if field.name not in KEYS_OF_THEIR_OWN],
        PLACES_OF_A_ROLLOUT_FIELD,
    ),
    "A field of a rollout, shown": (
        [field.name for field in v1.Rollout.DESCRIPTOR.fields if field.name not in COUNTED],
        PLACES_OF_A_SHOWN_FIELD,
    ),
}
EVERY_PLACE = [
    pytest.param(names, pattern, path, id=f"{title}: {path}")
    for title, (names, places) in LISTS.items()
    for path, pattern in places.items()
]


@pytest.mark.parametrize(("names", "pattern", "path"), EVERY_PLACE)
def test_a_listed_place_names_each_verb_or_field(names: list[str], pattern: Pattern, path: str) -> None:
    assert missing(names, pattern, text_of(path)) == []


@pytest.mark.parametrize(("names", "pattern", "path"), EVERY_PLACE)
def test_a_forgotten_place_is_found(names: list[str], pattern: Pattern, path: str) -> None:
    """Given a place without the lines of one verb or field, expect that this one is reported as missing."""
    forgotten = names[-1]
    lines = text_of(path).splitlines()
    text = "\n".join(line for line in lines if not any(re.search(each, line) for each in wanted(pattern, forgotten)))
    assert forgotten in missing(names, pattern, text)


def test_the_guide_lists_exactly_these_places() -> None:
    in_guide = [re.findall("`([^`]+)`", line) for line in re.findall(r"(?m)^\d+\. (.*?):", GUIDE)]
    of_tests = [path for _, places in LISTS.values() for path in places]
    assert sorted(path for paths in in_guide for path in paths) == sorted(of_tests)
