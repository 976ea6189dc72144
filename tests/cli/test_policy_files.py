"""A file with policies: what YAML means in it, what it may not have, and the schema that editors check it with."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from google.protobuf.json_format import MessageToDict, ParseDict

from rampd import v1
from rampd_cli.policies.nodes import MOST_BYTES
from rampd_cli.policies.reading import read_text
from rampd_cli.policies.schema import schema_text
from rampd_cli.policies.writing import file_of

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(schema_text())


def of_field(text: str) -> str:
    return f"policies:\n  restyler:\n    {text}\n"


def read(text: str) -> v1.Policy:
    [written], problems = read_text(text, "p.yaml")
    assert problems == []
    return written.policy


def wrong(text: str) -> list[str]:
    return [str(problem) for problem in read_text(text, "p.yaml")[1]]


FULL = v1.Policy()
ParseDict(
    {
        "queueMode": "QUEUE_MODE_REJECT",
        "unit": "UNIT_JOB",
        "steps": [{"percent": 0.25, "hold": "90061.5s", "minJobs": "1000"}, {"percent": 50, "approval": True}],
        "maxPercent": 99.99,
        "autoStart": True,
        "autoFinalize": False,
        "onRegression": "ON_REGRESSION_NOTIFY",
        "afterRollback": "AFTER_ROLLBACK_CONTINUE",
        "alpha": 0.000001,
        "tolerance": 1.25,
        "maturation": "0s",
        "maxFailureRate": 0.05,
        "onMaxFailureRate": "ON_REGRESSION_ROLLBACK",
        "checks": [
            {
                "name": "on",
                "query": 'rate(x{a="{{tag}}"}[5m])\n> "ü\u202e" # {}: 1',
                "interval": "1s",
                "min": -1e300,
                "max": 1e300,
            },
            {"name": "7", "query": "1", "max": 0, "failuresAllowed": "3", "errorsAllowed": "0"},
        ],
        "confirmWithin": "2592000s",
        "stuckAfter": "172800s",
    },
    FULL,
)


def test_every_setting_is_written_and_read_again() -> None:
    assert {field.name for field, _ in FULL.ListFields()} == {field.name for field in v1.Policy.DESCRIPTOR.fields}
    text = file_of([("restyler", FULL, FULL)])
    assert read(text) == FULL
    assert "\u202e" not in text
    jsonschema_rs.validate(SCHEMA, yaml.safe_load(text))


def test_the_json_of_the_api_is_read() -> None:
    assert read(json.dumps({"policies": {"restyler": MessageToDict(FULL)}}, indent="\t")) == FULL


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("auto_start: yes", "must be true or false; got 'yes'"),
        ("auto_start: on", "must be true or false; got 'on'"),
        ('auto_start: "true"', "must be true or false; got 'true'"),
        ("alpha: 010", "must be a number in decimal digits"),
        ("alpha: .nan", "must be a number in decimal digits"),
        ("alpha: 1e999", "must be a number from 0.000001 to 0.5"),
        ("tolerance: 1_0", "must be a number in decimal digits"),
        ("steps: [{percent: 1, min_jobs: 0x10}]", "must be a whole number in decimal digits"),
        ("steps: [{percent: 1, min_jobs: 1e3}]", "must be a whole number in decimal digits"),
        ("steps: [{percent: 1, min_jobs: 9999999999999999999}]", "is too large"),
        (f"steps: [{{percent: 1, min_jobs: {'9' * 5000}}}]", "must be a whole number"),
        ("stuck_after: 1:30", "must be a duration with its unit"),
        ("stuck_after: 90", "must be a duration with its unit"),
        (f"stuck_after: {'9' * 400}d", "must be a duration with its unit"),
        ("stuck_after: 1s", "must be a duration from 1 min to 30 days; got 1 s"),
        ("checks: [{name: on, query: up, max: 1}]", "must be a text. Put it into quotes: 'on'"),
        ("checks: [{name: 20200101, query: up, max: 1}]", "must be a text. Put it into quotes"),
        ("checks: [{name: a, query: 0o17, max: 1}]", "must be a text. Put it into quotes"),
        ("checks: [{name: a, query: up}]", "checks[0].min is required"),
        ("queue_mode: fifo", "must be one of FIFO, LATEST, REJECT"),
        ("queue_mode: UNSPECIFIED", "must be one of FIFO, LATEST, REJECT"),
        ("queue_mode: UNIT_FIFO", "must be one of FIFO, LATEST, REJECT"),
        ("alpha:", "has no value. Leave the field out for its default."),
        ("alpha: [0.1]", "must be a single value"),
        ("steps: {percent: 1}", "must be a list"),
        ("steps: [5]", "steps[0] must have fields"),
        ("steps: [{hold: 1m}]", "steps[0].percent is required"),
        ("aplha: 0.1", "has no field 'aplha'. Did you mean 'alpha'?"),
        ("{maxPercent: 5, max_percent: 6}", "has 'max_percent' twice"),
    ],
)
def test_a_wrong_value_is_said_once_and_with_its_line(text: str, problem: str) -> None:
    [found] = wrong(of_field(text))
    assert found.startswith("p.yaml:3: restyler")
    assert problem in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: The file is empty. It begins with `policies:`"),
        ("policies: [", "2: The file is not YAML"),
        ("policies:\n\trestyler: {}", "2: The file has a tab."),
        ("policies: {}\n---\npolicies: {}", "2: The file begins a second document."),
        (of_field("alpha: 0.1\n    alpha: 0.2"), "4: The file has 'alpha' again, which is already on line 3."),
        (of_field("alpha: !!python/object:os.system 1"), "3: The file has the tag"),
        ("policies: {a: *a}", "1: The file has *a, and there is no &a before it."),
        ("policies: &a {a: *a}", "1: The file has *a, and there is no &a before it."),
        ("policies: {[a]: {}}", "1: The file has a key that is not a text."),
        ("policies: {a: {<<: 5}}", "1: The file has << with something that is not a mapping."),
        ("[" * 25, "1: The file is nested more than 20 levels deep."),
        ("restyler: {}", "1: The file must begin with `policies:`"),
        ("policies:", "1: `policies` must have the name of each component"),
        ("policies: {restyler: }", "1: restyler must have fields, such as `queue_mode`. Write {} for"),
        ("policies: {A: {}}", "1: A component must be"),
        ("policies: {}\nx: 1", "2: 'x' is not known here."),
        ("policies: {}\n#" + " " * MOST_BYTES, "1: The file is larger than 1,024 KiB."),
        ("policies: {a: \x00}", "1: The file has a character that YAML does not allow."),
    ],
)
def test_a_file_that_is_not_understood_is_refused(text: str, problem: str) -> None:
    [found] = wrong(text)
    assert found.startswith(f"p.yaml:{problem}")


def bomb_of_lists() -> str:
    lines = ["policies:", "  a0: &a0 {steps: [{percent: 1}]}"]
    lines += [f"  a{n}: &a{n} {{steps: [{', '.join([f'*a{n - 1}'] * 20)}]}}" for n in range(1, 10)]
    return "\n".join(lines)


def bomb_of_merges() -> str:
    steps = ", ".join(f"{{percent: {percent}}}" for percent in range(1, 51))
    return f"policies:\n  a: &a {{steps: &s [{steps}]}}\n" + "".join(f"  b{n}: *a\n" for n in range(450))


@pytest.mark.parametrize(("bomb", "says"), [(bomb_of_lists, "has no field 'steps'"), (bomb_of_merges, "has more than")])
def test_a_small_file_can_not_become_a_large_one(bomb: Any, says: str) -> None:
    assert says in wrong(bomb())[0]


def test_a_hundred_thousand_brackets_are_refused() -> None:
    assert "nest" in wrong("[" * 100_000)[0]


def test_what_is_written_twice_in_a_merge_is_taken_from_nearer() -> None:
    found, problems = read_text("policies:\n  a: &a {alpha: 0.1, tolerance: 2}\n  b: {<<: *a, alpha: 0.2}\n", "p.yaml")
    assert (problems, found[1].policy) == ([], v1.Policy(alpha=0.2, tolerance=2))


GOOD = [
    "policies: {}",
    "policies: {restyler: {}}",
    of_field("queue_mode: QUEUE_MODE_FIFO"),
    of_field("steps: [{percent: 0.01, hold: 1d2h, min_jobs: 1000000000}]"),
    of_field("checks: [{name: a, query: up, min: 0}]"),
]
BAD = [
    "policies: []",
    "x: 1",
    "policies: {Restyler: {}}",
    of_field("aplha: 0.1"),
    of_field("alpha: 0.6"),
    of_field("alpha: '0.1'"),
    of_field("auto_start: 'yes'"),
    of_field("queue_mode: fifo"),
    of_field("stuck_after: 90"),
    of_field("stuck_after: ''"),
    of_field("steps: [{hold: 1m}]"),
    of_field("steps: [{percent: 100}]"),
    of_field("steps: [" + ", ".join(["{percent: 1}"] * 51) + "]"),
    of_field("checks: [{name: a, query: up}]"),
    of_field("checks: [{name: A, query: up, min: 0}]"),
]


@pytest.mark.parametrize("text", GOOD)
def test_a_good_file_is_good_for_the_schema(text: str) -> None:
    assert wrong(text) == []
    assert jsonschema_rs.is_valid(SCHEMA, yaml.safe_load(text))


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_bad_for_the_schema(text: str) -> None:
    assert wrong(text) != []
    assert not jsonschema_rs.is_valid(SCHEMA, yaml.safe_load(text))


def test_the_schema_in_docs_is_the_schema_of_the_command() -> None:
    assert (ROOT / "docs" / "policy.schema.json").read_text() == schema_text(), "type: make docs"


def test_each_field_of_the_schema_has_the_comment_of_the_proto() -> None:
    policy = SCHEMA["properties"]["policies"]["additionalProperties"]
    fields = policy["properties"]
    of_lists = [fields[name]["items"]["properties"] for name in ("steps", "checks")]
    assert all(described["description"] for group in (fields, *of_lists) for described in group.values())
    assert fields["alpha"]["minimum"] == 1e-6
