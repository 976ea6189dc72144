"""What a grant gives, and which components its callers see."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.access.grants import Caller, Grant, Proof, earliest
from rampd_server.access.rpc_roles import Role

OPERATORS = frozenset({Role.OPERATOR, Role.ADMIN})


def test_a_role_gives_its_methods_and_a_grant_may_add_and_take_away_single_ones() -> None:
    assert Grant("a", Role.OPERATOR).may("Ramp", OPERATORS)
    assert not Grant("a", Role.VIEWER).may("Ramp", OPERATORS)
    assert Grant("a", Role.VIEWER, allow=frozenset({"Rollback"})).may("Rollback", OPERATORS)
    assert not Grant("a", Role.VIEWER, allow=frozenset({"Rollback"})).may("Ramp", OPERATORS)
    assert not Grant("a", Role.ADMIN, deny=frozenset({"Ramp"})).may("Ramp", OPERATORS)


def test_deny_wins_over_allow() -> None:
    both = frozenset({"Ramp"})
    assert not Grant("a", Role.VIEWER, allow=both, deny=both).may("Ramp", OPERATORS)


def test_a_method_without_a_rule_is_given_to_no_role() -> None:
    assert not any(Grant("a", role).may("Explode", frozenset()) for role in Role)


def test_a_flag_for_the_whole_namespace_needs_every_component() -> None:
    assert Grant("a", Role.ADMIN).may_set("all")
    assert not Grant("a", Role.ADMIN, components=("restyler",)).may_set("all")
    assert not Grant("a", Role.OPERATOR).may_set("all")
    assert Grant("a", Role.OPERATOR, components=("restyler",)).may_set("expedite")
    assert not Grant("a", Role.CI).may_set("expedite")
    assert Grant("a", Role.CI, allow=frozenset({"expedite"})).may_set("expedite")
    assert not Grant("a", Role.CI, allow=frozenset({"expedite"})).may_set("force")


def test_a_glob_with_many_stars_is_compared_quickly() -> None:
    """A slow algorithm would try 10^9 ways to compare 63 dashes with 8 stars. Measured by the CPU time of the thread."""
    grant = Grant("a", Role.VIEWER, components=("*-" * 8 + "x",))
    begin_s = time.thread_time()
    assert not grant.sees("-" * 63)
    assert time.thread_time() - begin_s < 1


@pytest.mark.parametrize(
    ("globs", "seen", "unseen"),
    [
        (("*",), ["a", "restyler", "a.b-c_d"], []),
        (("restyler",), ["restyler"], ["restyler2", "arestyler", "restyle", ""]),
        (("restyler*",), ["restyler", "restyler-2"], ["a-restyler"]),
        (("*-prod",), ["a-prod", "a-b-prod"], ["a-prod2", "prod"]),
        (("team-*-prod",), ["team-a-prod", "team--prod"], ["team-prod", "team-a-prod.b"]),
        (("a.b",), ["a.b"], ["axb"]),
        (("a*b*c",), ["abc", "axbxc"], ["ab", "acb"]),
        (("a", "b*"), ["a", "b", "bc"], ["c", "ab"]),
        (("a|b",), [], ["a", "b"]),
    ],
)
def test_a_glob_matches_whole_names(globs: tuple[str, ...], seen: list[str], unseen: list[str]) -> None:
    grant = Grant("a", Role.VIEWER, components=globs)
    assert [name for name in [*seen, *unseen] if grant.sees(name)] == seen
    assert grant.sees_every_component == ("*" in globs)


@given(st.text("ab.-", min_size=1, max_size=12))
def test_a_name_without_a_star_matches_only_itself(name: str) -> None:
    grant = Grant("a", Role.VIEWER, components=(name,))
    assert grant.sees(name)
    assert not grant.sees(f"{name}a")
    assert not grant.sees(name.replace(".", "x") if "." in name else f"a{name}")


def test_the_identity_of_a_caller_is_the_name_of_its_grant() -> None:
    assert Caller(Grant("ci-restyler", Role.CI), Proof.TOKEN).identity == "ci-restyler"


def test_the_earliest_of_several_ends_counts() -> None:
    assert earliest(3.0, None, 2.0) == 2.0
    assert earliest(None, None) is None
    assert earliest() is None
    assert earliest(0.0, 1.0) == 0.0
