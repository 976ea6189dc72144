"""Measures rampd's public call, which watches a real server, and the libraries. All run in turns in one process, with the same
10 % and one pinned repo.
"""

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter

from rampd import Resolver
from tests.bench import running
from tests.bench.peers import libraries
from tests.bench.peers.contender import REPOS, Contender
from tests.bench.report import Row, at_least, plain
from tests.bench.rounds import in_turns, ratios
from tests.bench.scale import Scale

PACKAGES = ("growthbook", "ldclient", "UnleashClient", "openfeature.contrib.provider.flagd")
TIMES_FASTER = 10
FEW = 64


def run(scale: Scale) -> list[Row]:
    if not all(map(is_there, PACKAGES)):
        print(
            " left out, because the libraries to compare with are not installed (`make bench` installs them),", end=""
        )
        return []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running.rampd(stack.enter_context(running.store())))
        running.begin_rollout(server)
        opponents = (libraries.growthbook, libraries.launchdarkly, libraries.unleash, libraries.flagd)
        contenders = [stack.enter_context(rampd(server.target)), *(stack.enter_context(each()) for each in opponents)]
        contenders.append(stack.enter_context(rampd_provider(server.target)))
        for contender in contenders:
            contender.check()
        few, many = REPOS[:FEW] * (scale.calls // FEW), REPOS[: scale.calls]
        return [
            *rows(contenders, f"{FEW} repos again and again", few, scale.rounds),
            *rows(contenders, f"{len(many):,} repos", many, scale.rounds),
        ]


def rows(contenders: list[Contender], what: str, repos: Sequence[str], rounds: int) -> list[Row]:
    found = in_turns(rounds, *(partial(contender.microseconds, repos) for contender in contenders))
    ours, flagd = found[0], found[4]
    fastest = [min(each) for each in zip(*found[1:5], strict=True)]
    return [
        *(plain(f"{contender.name}, {what}", each, "us") for contender, each in zip(contenders, found, strict=True)),
        at_least("the fastest library against rampd", ratios(fastest, ours), "times", TIMES_FASTER),
        at_least("flagd's provider against rampd's", ratios(flagd, found[5]), "times", 1),
    ]


@contextlib.contextmanager
def rampd(target: str) -> Iterator[Contender]:
    with Resolver(target) as resolver:
        yield Contender("rampd", lambda repo: resolver.resolve(libraries.COMPONENT, repo=repo), attrgetter("tag"))


@contextlib.contextmanager
def rampd_provider(target: str) -> Iterator[Contender]:
    from rampd.openfeature import RampdProvider

    with libraries.openfeature("rampd (OpenFeature)", RampdProvider(target)) as contender:
        yield contender


def is_there(module: str) -> bool:
    """Whether a module and its parent packages are installed."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
