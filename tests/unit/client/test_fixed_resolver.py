"""The resolver with fixed answers behaves as the real one does."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from rampd import (
    AsyncResolver,
    Channel,
    ClosedError,
    InvalidArgumentError,
    Job,
    NotFoundError,
    Resolution,
    Resolver,
    ResolveReason,
    UnauthenticatedError,
    UnavailableError,
)
from rampd.testing import AsyncFixedResolver, FixedResolver

Make = Callable[..., Any]


@pytest.fixture(params=[FixedResolver, AsyncFixedResolver])
def make(request: pytest.FixtureRequest) -> Make:
    """Returns one of the two resolvers. Both get the same tests."""
    made: Make = request.param
    return made


async def result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@pytest.fixture
def resolver(make: Make) -> Any:
    return make(
        {"restyler": "20200301", "runner": "7"},
        overrides={
            ("restyler", "acme/app"): "pb/x",
            ("restyler", "acme/*"): "owner",
            ("runner", "acme/same"): "7",
            ("restyler", "acme/sub/*"): "sub",
        },
        attributes={"restyler": {"commit": "1a"}},
    )


def test_both_classes_are_resolvers(make: Make) -> None:
    assert isinstance(make({}), Resolver | AsyncResolver)


async def test_a_component_gets_its_tag(resolver: Any) -> None:
    answer: Resolution = await result(resolver.resolve("restyler", repo="widgets/app", job_id="42"))
    assert (answer.tag, answer.channel, answer.reason) == ("20200301", Channel.CURRENT, ResolveReason.STEADY)
    assert answer.attributes == {"commit": "1a"}
    assert (answer.release, answer.bucket, answer.revision, answer.stale) == (1, None, 1, False)


@pytest.mark.parametrize(
    ("repo", "tag"), [("acme/app", "pb/x"), ("acme/web", "owner"), ("acme/sub/a/b", "sub"), ("acme", "20200301")]
)
async def test_an_exact_override_wins_and_then_the_longest_prefix(resolver: Any, repo: str, tag: str) -> None:
    answer = await result(resolver.resolve("restyler", repo=repo))
    assert answer.tag == tag


async def test_an_override_has_a_channel_and_a_release_only_if_its_tag_has_them(resolver: Any) -> None:
    answer = await result(resolver.resolve("restyler", repo="acme/app"))
    assert (answer.channel, answer.reason, answer.release) == (None, ResolveReason.OVERRIDE_TAG, 0)
    assert answer.attributes == {}
    assert (await result(resolver.resolve("runner", repo="acme/same"))).release == 1


async def test_an_unknown_component_is_not_found(resolver: Any) -> None:
    with pytest.raises(NotFoundError) as caught:
        await result(resolver.resolve("nope", repo="acme/app"))
    assert (caught.value.reason, caught.value.metadata) == ("COMPONENT_NOT_FOUND", {"component": "nope"})


async def test_a_batch_has_an_answer_or_an_error_for_each_job(resolver: Any) -> None:
    jobs = [Job("restyler", "b/c"), ("nope", "b/c"), ("restyler", "acme/app", "42"), Job("restyler", "b/d")]
    answers = await result(resolver.resolve_batch(jobs))
    assert [getattr(answer, "tag", answer.__class__) for answer in answers] == [
        "20200301",
        NotFoundError,
        "pb/x",
        "20200301",
    ]
    assert answers[0].attributes == answers[3].attributes == {"commit": "1a"}
    assert answers[2].attributes == {}


async def test_calls_are_recorded_unless_they_are_refused(resolver: Any) -> None:
    await result(resolver.resolve("restyler", repo="a/b", job_id="42", min_revision=3))
    with pytest.raises(InvalidArgumentError):
        await result(resolver.resolve("restyler", repo="a b"))
    await result(resolver.resolve_batch([("runner", "c/d")]))
    assert resolver.calls == [Job("restyler", "a/b", "42", 3), Job("runner", "c/d")]


@pytest.mark.parametrize("hostile", ["", "\0", "\ud800", "x" * 1_000_000, None, b"a", 3])
async def test_bad_input_is_refused_in_the_same_way_as_by_the_real_resolver(resolver: Any, hostile: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await result(resolver.resolve(hostile, repo=hostile))
    assert [field for field, _ in caught.value.violations] == ["component", "repo"]


@pytest.mark.parametrize(
    ("jobs", "fields"),
    [
        ([], ["requests"]),
        ([("restyler", "a")] * 1001, ["requests"]),
        ([("restyler", "a"), ("A", "b", "c d", -1)], ["requests[1].component", "requests[1].job_id", "requests[1].min_revision"]),
        ([("restyler",), 7, ("a", "b", "c", 0, 5)], ["requests[0]", "requests[1]", "requests[2]"]),
    ],
)  # fmt: skip
async def test_the_error_of_a_wrong_batch_names_every_wrong_job(resolver: Any, jobs: Any, fields: list[str]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await result(resolver.resolve_batch(jobs))
    assert [field for field, _ in caught.value.violations] == fields


@pytest.mark.parametrize("min_revision", [-1, 2**63, 1.5, "1", True])
async def test_a_minimum_revision_is_a_whole_number(resolver: Any, min_revision: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await result(resolver.resolve("restyler", repo="a", min_revision=min_revision))
    assert [field for field, _ in caught.value.violations] == ["min_revision"]


@pytest.mark.parametrize(
    ("tags", "overrides"),
    [({"A": "x"}, {}), ({"a": "-x"}, {}), ({"a": ""}, {}), ({"a": "x"}, {("a", "b c"): "t"}), ({"a": "x"}, {("a", "b"): ""})],
)  # fmt: skip
def test_answers_that_no_server_would_give_are_refused(make: Make, tags: Any, overrides: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        make(tags, overrides=overrides)


async def test_a_failure_is_raised_until_it_is_cleared(resolver: Any) -> None:
    resolver.fail_with(UnavailableError("down"))
    with pytest.raises(UnavailableError, match="down"):
        await result(resolver.resolve("restyler", repo="a"))
    resolver.fail_with(None)
    assert (await result(resolver.resolve("restyler", repo="a"))).tag == "20200301"


async def test_a_refused_credential_is_in_the_status_until_it_is_cleared(resolver: Any) -> None:
    resolver.fail_with(UnauthenticatedError("revoked"))
    assert (resolver.status().connected, resolver.status().error) == (False, "revoked")
    resolver.fail_with(None)
    assert (resolver.status().connected, resolver.status().error) == (True, "")


async def test_a_closed_resolver_says_so_and_may_be_closed_again(resolver: Any) -> None:
    await result(resolver.close())
    await result(resolver.close())
    with pytest.raises(ClosedError):
        await result(resolver.resolve("restyler", repo="a"))


@pytest.mark.parametrize("resolver_class", [Resolver, AsyncResolver])
def test_a_resolver_refuses_an_unknown_mode(resolver_class: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        resolver_class("127.0.0.1:1", mode="locl")
    assert [field for field, _ in caught.value.violations] == ["mode"]
