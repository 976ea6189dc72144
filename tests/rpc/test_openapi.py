"""`/openapi.json` describes what the server does: schemathesis calls everything that the description has."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from google.protobuf import json_format
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from rampd import v1
from rampd_server import testing
from rampd_server.http import openapi
from rampd_server.rpc.binding import SERVICES
from tests.over_http import stubs_over_http
from tests.rpc.access_table import METHODS, REQUESTS, method_of, prepared, send
from tests.servers import short_directory
from tests.stores import StoreServer

DOCUMENT = openapi.document()
described = schemathesis.openapi.from_dict(DOCUMENT)

NOT_CHECKED = [
    # A server without a state answers 503, as its health says. A status of 500 is looked for below.
    not_a_server_error,
    # The mapping of proto3 takes more than it writes: null, numbers for enums, texts for numbers.
    negative_data_rejection,
    # What there is no component for is refused.
    positive_data_acceptance,
    # Without an access file, nobody is asked.
    ignored_auth,
]


@pytest.fixture(scope="module")
def served(store_process: StoreServer) -> Iterator[str]:
    with (
        short_directory() as directory,
        testing.listening(directory, store_process.url, namespace="openapi", http="127.0.0.1:0") as found,
    ):
        yield f"http://{found.http}"


@described.parametrize()
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_the_server_answers_as_the_description_says(case: schemathesis.Case, served: str) -> None:
    response = case.call_and_validate(base_url=served, excluded_checks=NOT_CHECKED)
    assert response.status_code != 500, response.text


def narrow(schema: Any) -> Any:
    """The same description, in which an answer has no more than what is described."""
    if isinstance(schema, dict):
        of_fields = {"additionalProperties": False} if schema.get("type") == "object" and "properties" in schema else {}
        return of_fields | {name: narrow(each) for name, each in schema.items()}
    return [narrow(each) for each in schema] if isinstance(schema, list) else schema


NARROWED = schemathesis.openapi.from_dict(narrow(DOCUMENT))


@pytest.mark.parametrize("row", [row for row in REQUESTS if not METHODS[method_of(row)].server_streaming])
def test_each_answer_is_as_the_description_says_and_nothing_in_it_is_left_out(row: str, served: str) -> None:
    """Given a component in a rollout, for which each method works, expect an answer that has only what is described."""
    component = f"c-{list(REQUESTS).index(row)}"
    method = METHODS[method_of(row)]
    path = f"/{method.containing_service.full_name}/{method.name}"
    with stubs_over_http(served) as over_http:
        channel: Any = over_http.channel
        send(channel, "Unfreeze", v1.UnfreezeRequest(all=True))
        prepared(partial(send, channel), component)
        sent = json_format.MessageToDict(REQUESTS[row](component))
        answer = channel.client.post(path, json=sent)
        send(channel, "Unfreeze", v1.UnfreezeRequest(all=True))
    assert answer.status_code == 200, answer.text
    NARROWED[path]["POST"].validate_response(answer)


def test_the_description_is_served_to_everybody(served: str) -> None:
    answer = httpx.get(f"{served}/openapi.json", trust_env=False, timeout=60)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


def test_a_server_that_describes_nothing_has_no_description(store_process: StoreServer, namespace: str) -> None:
    settings = {"namespace": namespace, "http": "127.0.0.1:0", "reflection": False}
    with short_directory() as directory, testing.listening(directory, store_process.url, **settings) as found:
        assert httpx.get(f"http://{found.http}/openapi.json", trust_env=False, timeout=60).status_code == 404


def test_everything_in_the_description_has_the_comment_of_the_proto() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    bare = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        if name.startswith("rampd.v1.")
        for field, described in {"": schema, **schema.get("properties", {})}.items()
        if not described.get("description")
    ]
    bare += [path for path, item in DOCUMENT["paths"].items() if "post" in item and not item["post"]["description"]]
    assert bare == []


def test_every_call_is_described_and_no_stream() -> None:
    methods = [method for service in SERVICES.values() for method in service.methods]
    calls = {f"/{each.containing_service.full_name}/{each.name}" for each in methods if not each.server_streaming}
    flags = {"/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/{component}"}
    assert {path for path, item in DOCUMENT["paths"].items() if "post" in item} == calls | flags


def test_answers_and_refusals_of_flags_are_as_they_are_described(served: str) -> None:
    def of(schema: str, answer: httpx.Response) -> None:
        found = {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}
        jsonschema_rs.validate(found, answer.json())

    with httpx.Client(base_url=served, trust_env=False, timeout=60) as http:
        http.post("/rampd.v1.ReleaseService/Release", json={"component": "restyler", "tag": "t1"})
        question, flags = {"context": {"targetingKey": "acme/app"}}, "/ofrep/v1/evaluate/flags"
        of("ofrep.Request", httpx.Response(200, json=question))
        of("ofrep.Flag", http.post(f"{flags}/restyler", json=question))
        of("ofrep.Flags", http.post(flags, json=question))
        for path, content, status in (
            (f"{flags}/none", question, 404),
            (f"{flags}/restyler", {}, 400),
            (flags, [], 400),
        ):
            refused = http.post(path, json=content)
            assert refused.status_code == status
            of("ofrep.Error", refused)


def test_a_request_has_the_rules_of_its_fields_and_an_answer_may_grow() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    ramp = schemas["rampd.v1.RampRequest"]
    assert ramp["required"] == ["component", "percent"]
    assert ramp["additionalProperties"] is False
    assert ramp["properties"]["component"]["pattern"] == "^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$"
    assert ramp["properties"]["tag"]["pattern"].startswith("^$|")
    assert schemas["rampd.v1.BatchResolveRequest"]["properties"]["requests"]["minItems"] == 1
    assert "additionalProperties" not in schemas["rampd.v1.RampResponse"]
