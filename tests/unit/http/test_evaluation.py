"""A component as a flag of OpenFeature: the words of OFREP, and the same words as rampd's own provider has."""

import json
from http import HTTPStatus
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, status_pb2
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from rampd import openfeature, v1
from rampd._decision.resolution import Channel, Decision, Resolution, ResolveReason
from rampd_server.domain import refusals
from rampd_server.domain.errors import (
    InvalidRequestError,
    LimitExceededError,
    NoSnapshotError,
    RampdError,
    StoreCorruptError,
)
from rampd_server.http.evaluation import (
    MAX_CONTEXT_BYTES,
    ErrorCode,
    Question,
    Refusal,
    batch,
    bulk_refusal,
    etag,
    flag,
    flags,
    is_known,
    question_of,
    refusal,
)
from rampd_server.rpc.error_status import to_status
from rampd_server.rpc.messages.resolution import encode

C = "restyler"
DAMAGED = StoreCorruptError("It is damaged.", key="rampd:restyler")
REASONS_OF_OFREP = {"STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"}
ERROR_CODES_OF_OFREP = {"PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "GENERAL", "FLAG_NOT_FOUND"}
STEADY = Decision("t1", Channel.CURRENT, ResolveReason.STEADY, 1, {"commit": "1a"})
DECISIONS = [
    STEADY,
    Decision("t2", Channel.NEXT, ResolveReason.WEIGHT, 2),
    Decision("t1", Channel.CURRENT, ResolveReason.WEIGHT, 1),
    Decision("t2", Channel.NEXT, ResolveReason.OVERRIDE_CHANNEL, 2),
    Decision("t1", None, ResolveReason.OVERRIDE_TAG, 1, {"commit": "1a"}),
    Decision("pb/x", None, ResolveReason.OVERRIDE_TAG, 0),
    Decision("next", None, ResolveReason.OVERRIDE_TAG, 0),
    Decision("t1", Channel.CURRENT, ResolveReason.STALE, 1),
]


def answer_of(decision: Decision, bucket: int | None = None, age_s: float = 0.25) -> v1.ResolveResponse:
    return v1.ResolveResponse.FromString(encode(Resolution(decision, 7, bucket, age_s)))


def asked(context: Any) -> Question:
    return question_of(json.dumps({"context": context}).encode())


class TestQuestions:
    def test_the_targeting_key_is_the_repo_and_other_keys_have_no_effect(self) -> None:
        assert asked({"targetingKey": "acme/app"}) == Question("acme/app")
        context = {"targetingKey": "acme/app", "job_id": "42", "country": {"deep": [1, None]}, "jobId": 7}
        assert asked(context) == Question("acme/app", "42")
        assert asked({"targetingKey": "acme/app", "job_id": None}) == Question("acme/app")

    @pytest.mark.parametrize(
        ("body", "code", "says"),
        [
            (b"", ErrorCode.PARSE_ERROR, "not JSON"),
            (b"{", ErrorCode.PARSE_ERROR, "not JSON"),
            (b"\xff\xfe", ErrorCode.PARSE_ERROR, "not JSON"),
            (b"[" * 30_000, ErrorCode.PARSE_ERROR, "not JSON"),
            (b"[]", ErrorCode.PARSE_ERROR, "got a list"),
            (b"null", ErrorCode.PARSE_ERROR, "got null"),
            (b"{}", ErrorCode.TARGETING_KEY_MISSING, "no targetingKey"),
            (b'{"context": null}', ErrorCode.TARGETING_KEY_MISSING, "no targetingKey"),
            (b'{"context": {"job_id": "42"}}', ErrorCode.TARGETING_KEY_MISSING, "such as acme/app"),
            (b'{"context": {"targetingKey": ""}}', ErrorCode.TARGETING_KEY_MISSING, "no targetingKey"),
            (b'{"context": "acme/app"}', ErrorCode.INVALID_CONTEXT, "must be an object; got a string"),
            (b'{"context": {"targetingKey": 7}}', ErrorCode.INVALID_CONTEXT, "targetingKey of the context must be a"),
            (
                b'{"context": {"targetingKey": "a", "job_id": 42}}',
                ErrorCode.INVALID_CONTEXT,
                "job_id of the context must be a string, such as 42 in quotation marks; got a number.",
            ),
            (b'{"context": {"targetingKey": "a", "job_id": true}}', ErrorCode.INVALID_CONTEXT, "got a boolean"),
            (b'{"context": {"targetingKey": "\\ud800"}}', ErrorCode.INVALID_CONTEXT, "no valid Unicode"),
        ],
    )
    def test_a_wrong_question_is_refused_and_says_why(self, body: bytes, code: ErrorCode, says: str) -> None:
        with pytest.raises(Refusal) as refused:
            question_of(body)
        assert (refused.value.code, refused.value.status) == (code, HTTPStatus.BAD_REQUEST)
        assert says in refused.value.details
        assert refused.value.body("k") == {"key": "k", "errorCode": code, "errorDetails": refused.value.details}

    def test_a_context_is_at_most_64_kib(self) -> None:
        body = b'{"context": {"targetingKey": "acme/app", "more": "%s"}}'
        room = MAX_CONTEXT_BYTES - len(body % b"")
        assert question_of(body % (b"x" * room)) == Question("acme/app")
        with pytest.raises(Refusal, match=r"rampd reads at most 65536 bytes") as refused:
            question_of(body % (b"x" * (room + 1)))
        assert refused.value.code is ErrorCode.INVALID_CONTEXT


class TestAnswers:
    def test_an_answer_has_its_value_variant_reason_and_metadata(self) -> None:
        assert flag(C, answer_of(STEADY, age_s=0.25), {"commit": "1a"}) == {
            "key": C,
            "value": "t1",
            "variant": "current",
            "reason": "STATIC",
            "metadata": {
                "release": 1,
                "revision": 7,
                "rampd_reason": "STEADY",
                "stale": False,
                "channel": "current",
                "snapshot_age_s": 0.25,
                "attribute.commit": "1a",
            },
        }

    @pytest.mark.parametrize("age_s", [0.25, 60.0])
    @pytest.mark.parametrize("bucket", [None, 0, 9_999])
    @pytest.mark.parametrize("decision", DECISIONS, ids=str)
    def test_every_answer_says_the_same_as_the_provider_of_rampd(
        self, decision: Decision, bucket: int | None, age_s: float
    ) -> None:
        own: FlagResolutionDetails[str] = openfeature._details(Resolution(decision, 7, bucket, age_s))
        answer = answer_of(decision, bucket, age_s)
        found = flag(C, answer, answer.attributes)
        assert (found["value"], found["variant"], found["metadata"]) == (own.value, own.variant, own.flag_metadata)
        # The protocol has no word for this one.
        assert found["reason"] == ("UNKNOWN" if own.reason is Reason.STALE else own.reason)
        assert found["reason"] in REASONS_OF_OFREP
        # The Python provider reads the reason as one of its own.
        assert Reason[found["reason"]]
        assert all(isinstance(value, str | int | float | bool) for value in found["metadata"].values())
        assert json.loads(json.dumps(found)) == found

    def test_every_reason_of_rampd_has_a_word_of_the_protocol(self) -> None:
        for number in v1.ResolveReason.values():
            assert flag(C, v1.ResolveResponse(reason=number), {})["reason"] in REASONS_OF_OFREP  # type: ignore[arg-type]


class TestRefusals:
    @pytest.mark.parametrize(
        ("error", "status", "code", "says"),
        [
            (refusals.component_not_found(component="x"), 404, ErrorCode.FLAG_NOT_FOUND, "There is no component x."),
            (
                InvalidRequestError([("component", "must be short")]),
                404,
                ErrorCode.FLAG_NOT_FOUND,
                "component: must be",
            ),
            (
                InvalidRequestError([("component", "is wrong"), ("repo", "is wrong")]),
                404,
                ErrorCode.FLAG_NOT_FOUND,
                "component: is wrong; targetingKey (the repo): is wrong",
            ),
            (
                InvalidRequestError([("requests[0].repo", "is wrong"), ("requests[1].repo", "is wrong")]),
                400,
                ErrorCode.INVALID_CONTEXT,
                "targetingKey (the repo): is wrong",
            ),
            (InvalidRequestError([("job_id", "is wrong")]), 400, ErrorCode.INVALID_CONTEXT, "job_id: is wrong"),
            (refusals.no_credentials("Send a token."), 401, ErrorCode.GENERAL, "Send a token."),
            (refusals.role_required("Not you.", role="viewer"), 403, ErrorCode.GENERAL, "Not you."),
            (NoSnapshotError("No state yet."), 503, ErrorCode.GENERAL, "No state yet."),
            (DAMAGED, 500, ErrorCode.GENERAL, "It is damaged."),
            (refusals.internal(request_id="1a"), 500, ErrorCode.GENERAL, "1a"),
        ],
        ids=str,
    )
    def test_a_refusal_has_the_status_and_the_code_of_the_protocol_and_the_words_of_rampd(
        self, error: RampdError, status: int, code: ErrorCode, says: str
    ) -> None:
        found = refusal(to_status(error))
        assert (found.status, found.code) == (status, code)
        assert says in found.details
        body = found.body(C)
        assert body["key"] == C
        assert body["errorCode"] in ERROR_CODES_OF_OFREP
        assert body["errorDetails"]
        assert body["metadata"] == {"rampd_reason": error.reason}
        assert "retry-after" not in found.headers
        assert found.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)

    @pytest.mark.parametrize(("wait_s", "header"), [(0.002, "1"), (1.0, "1"), (1.001, "2")])
    def test_a_caller_over_its_limit_is_told_the_seconds_to_wait(self, wait_s: float, header: str) -> None:
        error = LimitExceededError("Too many.", limit="calls_per_s", retry_after_s=wait_s)
        found = refusal(to_status(error))
        assert (found.status, found.headers["retry-after"]) == (HTTPStatus.TOO_MANY_REQUESTS, header)

    @pytest.mark.parametrize(
        ("code", "status"),
        [(code_pb2.DEADLINE_EXCEEDED, 504), (code_pb2.UNIMPLEMENTED, 501), (code_pb2.UNKNOWN, 500)],
    )
    def test_a_refusal_without_words_has_its_code(self, code: Any, status: int) -> None:
        found = refusal(status_pb2.Status(code=code))
        assert (found.status, found.code) == (status, ErrorCode.GENERAL)
        assert found.body(C) == {"key": C, "errorCode": "GENERAL", "errorDetails": code_pb2.Code.Name(code).lower()}


def bulk_answer(*answers: v1.ResolveResponse | status_pb2.Status) -> v1.BatchResolveResponse:
    response = v1.BatchResolveResponse()
    for each in answers:
        if isinstance(each, v1.ResolveResponse):
            response.results.add(response=each)
        else:
            response.results.add(status=each)
    return response


class TestBulk:
    def test_a_batch_asks_for_all_components_for_one_repo(self) -> None:
        requests = batch(["a", "b"], Question("acme/app", "42")).requests
        assert [(each.component, each.repo, each.job_id) for each in requests] == [
            ("a", "acme/app", "42"),
            ("b", "acme/app", "42"),
        ]

    def test_more_than_a_thousand_components_are_refused_and_none_is_left_out(self) -> None:
        names = [f"c{number}" for number in range(1001)]
        assert len(batch(names[:1000], Question("acme/app")).requests) == 1000
        with pytest.raises(
            Refusal, match=r"You see 1001 components, and a bulk answer holds at most 1000.*by its name"
        ):
            batch(names, Question("acme/app"))

    def test_an_answer_that_does_not_fit_says_what_to_do(self) -> None:
        found = bulk_refusal(to_status(refusals.too_large("Ask for fewer jobs.", limit=4)))
        assert (found.status, found.code) == (HTTPStatus.BAD_REQUEST, ErrorCode.GENERAL)
        assert "more than 4194304 bytes. Ask for each component by its name" in found.details
        assert bulk_refusal(to_status(NoSnapshotError("No state yet."))).status == HTTPStatus.SERVICE_UNAVAILABLE

    def test_each_component_has_its_answer_and_its_attributes_or_its_failure(self) -> None:
        answer = bulk_answer(answer_of(STEADY), to_status(DAMAGED))
        answer.results[0].response.ClearField("attributes")
        answer.release_attributes.add(component="a", release=1, attributes={"commit": "1a"})
        answer.release_attributes.add(component="b", release=1, attributes={"commit": "2b"})
        found = list(flags(["a", "b"], answer))
        assert found[0] == flag("a", answer_of(STEADY), {"commit": "1a"}, has_age=False)
        assert "snapshot_age_s" not in found[0]["metadata"]
        assert found[1] == {
            "key": "b",
            "errorCode": "GENERAL",
            "errorDetails": "It is damaged.",
            "metadata": {"rampd_reason": "STORE_CORRUPT"},
        }

    def test_an_etag_stays_while_only_the_age_grows(self) -> None:
        damaged = to_status(DAMAGED)
        young, older = (bulk_answer(answer_of(STEADY, 5, age_s), damaged) for age_s in (0.1, 4.9))
        before = older.SerializeToString()
        assert etag(["a", "b"], young) == etag(["a", "b"], older)
        assert older.SerializeToString() == before

    @pytest.mark.parametrize(
        "other",
        [
            bulk_answer(answer_of(STEADY, 5, age_s=5.0)),
            bulk_answer(answer_of(STEADY, 6)),
            bulk_answer(answer_of(DECISIONS[1], 5)),
            bulk_answer(to_status(DAMAGED)),
            bulk_answer(),
        ],
        ids=["stale", "bucket", "version", "damaged", "gone"],
    )
    def test_an_etag_changes_when_an_answer_does(self, other: v1.BatchResolveResponse) -> None:
        names = ["a"][: len(other.results)]
        assert etag(names, other) != etag(["a"], bulk_answer(answer_of(STEADY, 5)))

    def test_an_etag_is_about_the_names_and_the_attributes_too(self) -> None:
        answer = bulk_answer(answer_of(STEADY))
        changed = bulk_answer(answer_of(STEADY))
        changed.release_attributes.add(component="a", release=1, attributes={"commit": "2b"})
        assert len({etag(["a"], answer), etag(["b"], answer), etag(["a"], changed)}) == 3

    @pytest.mark.parametrize("header", ['"1a"', 'W/"1a"', '"x", "1a"', '"x",W/"1a" '])
    def test_a_caller_that_has_the_answer_is_known_by_its_etag(self, header: str) -> None:
        assert is_known('"1a"', header)

    @pytest.mark.parametrize("header", [None, "", "1a", '"1"', '"x"'])
    def test_a_caller_that_has_another_answer_or_none_is_not_known(self, header: str | None) -> None:
        assert not is_known('"1a"', header)


def test_ages_are_seconds() -> None:
    answer = v1.ResolveResponse(snapshot_age=Duration(seconds=90, nanos=500_000_000))
    assert flag(C, answer, {})["metadata"]["snapshot_age_s"] == 90.5
