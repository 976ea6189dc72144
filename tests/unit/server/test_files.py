"""The limit of connections, which follows from the limit of open files."""

import resource

import pytest

from rampd_server.process import open_files


def test_all_listeners_together_leave_files_for_the_store():
    for limit in (256, 1024, 20_000):
        for listeners in (1, 2):
            assert 1 <= open_files.connections_of_each(limit, listeners) * listeners <= limit - open_files.KEPT


def test_each_listener_accepts_at_least_one_connection_and_at_most_as_many_as_grpc_can_count():
    assert open_files.connections_of_each(10, 2) == 1
    assert open_files.connections_of_each(2**40, 1) < 2**31


def test_what_may_still_be_opened_leaves_files_for_the_store_too():
    assert open_files.spare(1000, 300) == 700 - open_files.KEPT
    assert open_files.spare(300, 250) == 0
    assert open_files.spare(resource.RLIM_INFINITY, 300) > 900_000


def test_the_soft_limit_becomes_the_hard_one(monkeypatch: pytest.MonkeyPatch):
    given = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 5000))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: given.append((which, limits)))
    assert open_files.raise_limit() == 5000
    assert given == [(resource.RLIMIT_NOFILE, (5000, 5000))]


def test_the_limit_in_force_is_returned_if_it_cannot_be_raised(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert open_files.raise_limit() == 256
