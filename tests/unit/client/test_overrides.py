"""Setting many overrides at once has the same result as setting one after the other."""

from hypothesis import given
from hypothesis import strategies as st

from rampd._decision.overrides import Channel, Choice, Overrides

REPOS = st.sampled_from(["acme/app", "acme/web", "acme/*", "*", "/*", "a/b/*", "a/*/b", "plain"])
CHOICES = st.builds(
    lambda channel, tag, expire_ms: Choice(None if tag else channel, tag, expire_ms),
    st.sampled_from(Channel),
    st.sampled_from(["", "t1", "t2"]),
    st.one_of(st.none(), st.integers(0, 9)),
)


@given(st.lists(st.tuples(REPOS, CHOICES)))
def test_setting_all_at_once_equals_setting_each(pairs: list[tuple[str, Choice]]) -> None:
    one_by_one, at_once, from_passing_objects = Overrides(), Overrides(), Overrides()
    for repo, choice in pairs:
        one_by_one.set(repo, choice)
    at_once.set_all(pairs)
    from_passing_objects.set_all((repo, Choice(each.channel, each.tag, each.expire_ms)) for repo, each in pairs)
    for made in (at_once, from_passing_objects):
        assert (made.by_repo, made.by_prefix) == (one_by_one.by_repo, one_by_one.by_prefix)


def test_equal_choices_are_one_object() -> None:
    overrides = Overrides()
    overrides.set_all((f"acme/app{n}", Choice(Channel.NEXT)) for n in range(100))
    assert len({id(choice) for choice in overrides.by_repo.values()}) == 1
