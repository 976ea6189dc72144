"""Resolvers with fixed answers and no network: the real resolvers, over a fake connection."""

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar, cast

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from rampd import v1
from rampd._calls.connection import closed_error
from rampd._calls.endpoint import NO_CREDENTIALS
from rampd._calls.resolve_call import Job
from rampd._calls.status import error_of_status
from rampd._contract.grammar import COMPONENT, PINNED, TAG, Violation, Word, word_violation
from rampd._decision.overrides import Choice, Overrides
from rampd._reporting.outcome_buffer import Outcome, Reports
from rampd.aio import AsyncResolver
from rampd.errors import InvalidArgumentError, RampdError, UnauthenticatedError
from rampd.resolver import Resolver

Response = TypeVar("Response", bound=Message)
Tags = Mapping[tuple[str, str], str]
Attributes = Mapping[str, Mapping[str, str]]

_TARGET = "fixed:1"


class _Answers:
    """A fake connection: has the answers, and records the questions."""

    target = _TARGET

    def __init__(self, tags: Mapping[str, str], overrides: Tags, attributes: Attributes) -> None:
        _check(tags, overrides)
        self.tags = dict(tags)
        self._pins: defaultdict[str, Overrides] = defaultdict(Overrides)
        for (component, repo), tag in overrides.items():
            self._pins[component].set(repo, Choice(tag=tag))
        self.attributes = {component: dict(each) for component, each in attributes.items()}
        self.calls: list[Job] = []
        self.failure: RampdError | None = None
        self.is_closed = False

    @property
    def refusal(self) -> str:
        return self.failure.message if isinstance(self.failure, UnauthenticatedError) else ""

    def call(self, request: Message, response: type[Response], timeout_s: float) -> Response:  # noqa: ARG002
        if self.is_closed:
            raise closed_error(_TARGET)
        answer: Message
        if isinstance(request, v1.BatchResolveRequest):
            answer = self._resolve_batch(request)
        else:
            answer = self._resolve(cast("v1.ResolveRequest", request))
        if isinstance(answer, Status):
            raise error_of_status(answer)
        return cast("Response", answer)

    def close(self) -> None:
        self.is_closed = True

    def _resolve(self, request: v1.ResolveRequest) -> v1.ResolveResponse | Status:
        self.calls.append(Job(request.component, request.repo, request.job_id, request.min_revision))
        if self.failure is not None:
            raise self.failure
        current = self.tags.get(request.component)
        if current is None:
            return _component_not_found(request.component)
        choice = self._pins[request.component].find(request.repo, lambda: 0)  # none of them expires
        tag = choice.tag if choice is not None else ""
        return v1.ResolveResponse(
            tag=tag or current,
            channel=v1.CHANNEL_UNSPECIFIED if tag else v1.CHANNEL_CURRENT,
            reason=v1.RESOLVE_REASON_OVERRIDE_TAG if tag else v1.RESOLVE_REASON_STEADY,
            release=0 if tag and tag != current else 1,
            attributes=None if tag and tag != current else self.attributes.get(request.component),
            revision=1,
        )

    def _resolve_batch(self, request: v1.BatchResolveRequest) -> v1.BatchResolveResponse:
        response = v1.BatchResolveResponse()
        named = set()
        for each in request.requests:
            answer = self._resolve(each)
            if isinstance(answer, Status):
                response.results.add(status=answer)
                continue
            if answer.release and each.component not in named:
                named.add(each.component)
                response.release_attributes.add(
                    component=each.component, release=answer.release, attributes=answer.attributes
                )
            answer.ClearField("attributes")
            response.results.add(response=answer)
        return response


class _Recorder:
    """Records the outcomes, which the real resolvers send."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def status(self) -> Reports:
        return Reports(sent=len(self.outcomes))

    def end(self) -> None:
        pass

    def close(self) -> None:
        pass


class FixedResolver(Resolver):
    """A `Resolver` that always gives a component's tag, or the tag of an override.

        resolver = FixedResolver({"restyler": "20200301"}, overrides={("restyler", "acme/app"): "pb/x"})
        assert resolver.resolve("restyler", repo="acme/web").tag == "20200301"
        assert resolver.calls == [Job("restyler", "acme/web")]

    It refuses the same arguments as the real one, and raises NotFoundError (COMPONENT_NOT_FOUND) for every other component. An
    override may be for all repos below a prefix: `acme/*`, `group/sub/*`.
    """

    def __init__(
        self, tags: Mapping[str, str], *, overrides: Tags | None = None, attributes: Attributes | None = None
    ) -> None:
        """`overrides` by component and repo, `attributes` by component. Raises InvalidArgumentError."""
        super().__init__(_TARGET, mode="rpc", credentials=NO_CREDENTIALS)
        self._answers = _Answers(tags, overrides or {}, attributes or {})
        self._connection = self._answers
        self._reporter = self._recorder = _Recorder()

    @property
    def calls(self) -> list[Job]:
        """Every job that was asked for, including those of batches. Jobs with wrong arguments are not included."""
        return self._answers.calls

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes of `job` and `report`, including those that the real resolver does not send."""
        return self._recorder.outcomes

    def fail_with(self, error: RampdError | None) -> None:
        """Raises this error instead of answering, from now on. With None, it answers again."""
        self._answers.failure = error


class AsyncFixedResolver(AsyncResolver):
    """An `AsyncResolver` that works like `FixedResolver`."""

    def __init__(
        self, tags: Mapping[str, str], *, overrides: Tags | None = None, attributes: Attributes | None = None
    ) -> None:
        """Takes the arguments of `FixedResolver`."""
        super().__init__(_TARGET, mode="rpc", credentials=NO_CREDENTIALS)
        self._answers = _Answers(tags, overrides or {}, attributes or {})
        self._connection = _AioAnswers(self._answers)
        self._reporter = self._recorder = _Recorder()

    @property
    def calls(self) -> list[Job]:
        """Works like `FixedResolver.calls`."""
        return self._answers.calls

    @property
    def outcomes(self) -> list[Outcome]:
        """Works like `FixedResolver.outcomes`."""
        return self._recorder.outcomes

    def fail_with(self, error: RampdError | None) -> None:
        """Works like `FixedResolver.fail_with`."""
        self._answers.failure = error


class _AioAnswers:
    target = _TARGET

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers

    @property
    def refusal(self) -> str:
        return self._answers.refusal

    async def call(self, request: Message, response: type[Response], timeout_s: float) -> Response:
        return self._answers.call(request, response, timeout_s)

    async def close(self) -> None:
        self._answers.close()


def _check(tags: Mapping[str, str], overrides: Tags) -> None:
    """Refuses names and tags that no server accepts."""
    words: list[tuple[str, Word, str]] = []
    for component, tag in tags.items():
        words += [(f"tags[{component!r}]", COMPONENT, component), (f"tags[{component!r}]", TAG, tag)]
    for (component, repo), tag in overrides.items():
        where = f"overrides[{component!r}, {repo!r}]"
        words += [(where, COMPONENT, component), (where, PINNED, repo), (where, TAG, tag)]
    found: list[Violation] = [
        (where, wrong)
        for where, word, value in words
        if (wrong := word_violation(word, value, required=True)) is not None
    ]
    if found:
        raise InvalidArgumentError(violations=found)


def _component_not_found(component: str) -> Status:
    status = Status(
        code=grpc.StatusCode.NOT_FOUND.value[0], message=f"There is no component {component} in this FixedResolver."
    )
    status.details.add().Pack(
        ErrorInfo(reason="COMPONENT_NOT_FOUND", domain="rampd", metadata={"component": component})
    )
    return status
