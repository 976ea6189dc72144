"""The libraries of the extra `[bench]`. Each runs offline, is set up as in its quick start, and has its rules in a file of this
folder.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.peers.contender import Contender, same

FOLDER = Path(__file__).parent
COMPONENT = "restyler"


@contextlib.contextmanager
def growthbook() -> Iterator[Contender]:
    """Uses one instance for all repos. That is cheaper than one instance per request, which its documentation shows for web
    frameworks.
    """
    from growthbook import GrowthBook

    book = GrowthBook(features=json.loads((FOLDER / "growthbook.json").read_text()))

    def ask(repo: str) -> object:
        book.set_attributes({"id": repo})
        return book.get_feature_value(COMPONENT, "")

    yield Contender("growthbook", ask, same)
    book.destroy()


@contextlib.contextmanager
def launchdarkly() -> Iterator[Contender]:
    """Uses its file data source, and sends no events."""
    from ldclient import Context, LDClient
    from ldclient.config import Config
    from ldclient.integrations import Files

    source = Files.new_data_source(paths=[str(FOLDER / "launchdarkly.json")])
    client = LDClient(Config("sdk-key", update_processor_class=source, send_events=False))
    yield Contender("launchdarkly", lambda repo: client.variation(COMPONENT, Context.create(repo), ""), same)
    client.close()


@contextlib.contextmanager
def unleash() -> Iterator[Contender]:
    """Uses its bootstrap from a file, and sends no metrics."""
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    with tempfile.TemporaryDirectory() as folder:
        cache = FileCache("rampd", directory=folder)
        cache.bootstrap_from_file(FOLDER / "unleash.json")
        client = UnleashClient(
            "http://127.0.0.1:9/api", "rampd", cache=cache, disable_metrics=True, disable_registration=True
        )
        client.initialize_client(fetch_toggles=False)
        yield Contender(
            "Unleash",
            lambda repo: client.get_variant(COMPONENT, {"userId": repo}),
            lambda answer: str(answer["payload"]["value"]),
        )
        client.destroy()


@contextlib.contextmanager
def flagd() -> Iterator[Contender]:
    """Uses its OpenFeature provider in this process, with rules from a file."""
    from openfeature.contrib.provider.flagd import FlagdProvider
    from openfeature.contrib.provider.flagd.config import ResolverType

    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(FOLDER / "flagd.json"))
    with openfeature("flagd (OpenFeature)", provider) as contender:
        yield contender


@contextlib.contextmanager
def openfeature(name: str, provider: Any) -> Iterator[Contender]:
    """Calls any provider through OpenFeature's client."""
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext

    api.set_provider_and_wait(provider, domain=name)
    client = api.get_client(name)
    yield Contender(name, lambda repo: client.get_string_value(COMPONENT, "", EvaluationContext(repo)), same)
    provider.shutdown()
