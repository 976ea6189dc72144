"""The text of a scrape, and the counts in it, as prometheus_client and promtool read them."""

import math
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rampd_server.metrics import families
from rampd_server.metrics.counting import ByComponent, Count, Counts, Histogram
from rampd_server.metrics.families import FAMILIES, Family, Kind
from rampd_server.metrics.text import header, histogram_lines, line, slot_text
from tests.servers import require

ROOT = Path(__file__).parents[3]


def whole() -> str:
    """A text with every family."""
    text = ""
    for family in FAMILIES:
        labels = tuple("x" for _ in family.labels)
        if family.kind is Kind.HISTOGRAM:
            histogram = Histogram()
            histogram.observe(0.003)
            text += header(family) + "".join(histogram_lines(family, labels, histogram))
        else:
            text += header(family) + line(family, labels, 1.5)
    return text


def test_every_family_is_read_back_by_the_library_of_prometheus() -> None:
    read = {family.name: family for family in text_string_to_metric_families(whole())}
    for family in FAMILIES:
        found = read[family.name.removesuffix("_total") if family.kind is Kind.COUNTER else family.name]
        assert found.type == family.kind
        assert found.documentation == family.help
        assert {*found.samples[0].labels} - {"le"} == {*family.labels}
        assert {sample.name for sample in found.samples} == {*family.samples}


def test_promtool_finds_nothing_against_the_conventions() -> None:
    checked = subprocess.run(
        [require("promtool"), "check", "metrics"], input=whole(), text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_name_follows_the_conventions(family: Family) -> None:
    assert re.fullmatch(r"(rampd|process)(_[a-z0-9]+)+", family.name)
    assert family.name.endswith("_total") is (family.kind is Kind.COUNTER)
    assert not {"repo", "job_id", "token", "actor", "identity"} & {*family.labels}
    assert ("tag" in family.labels) is (family is families.RELEASE_INFO)
    # Merging and the filter for callers who see some components look for it at this place.
    assert "component" not in family.labels[1:]


def test_the_document_lists_every_family_as_the_code_has_it() -> None:
    document = (ROOT / "docs" / "observability" / "metrics.md").read_text()
    rows = [line for line in document.splitlines() if re.match(r"\| `(rampd|process)_", line)]
    assert rows == [
        f"| `{family.name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)} | {family.merge} | "
        f"{family.help} |"
        for family in FAMILIES
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (3.0, "3"), (2.5, "2.5"), (1e300, f"{1e300:.0f}"), (math.inf, "+Inf"), (0.1, "0.1")]
)
def test_a_number_is_written_whole(value: float, text: str) -> None:
    assert line(families.WATCHERS, (), value) == f"rampd_watchers {text}\n"


def test_a_label_can_hold_any_character() -> None:
    written = header(families.BUILD_INFO) + line(families.BUILD_INFO, ('a"b', "c\\d\ne"), 1)
    [family] = text_string_to_metric_families(written)
    assert family.samples[0].labels == {"version": 'a"b', "python": "c\\d\ne"}


def test_a_histogram_counts_each_bound_with_all_before_it() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(seconds)
    assert list(histogram.cumulative) == [2, 3, 4]
    assert histogram.sum_s == pytest.approx(7.65)


def test_counts_grow() -> None:
    count, counts = Count(), Counts()
    count.add()
    count.add(2)
    counts.add("a", "b")
    counts.add("a", "b", number=3)
    assert count.value == 3
    assert list(counts.items()) == [(("a", "b"), 4)]


class TestByComponent:
    """At most so many components have a count of their own."""

    def test_a_component_beyond_the_limit_counts_for_the_others(self) -> None:
        counts = ByComponent(lambda name: name if name in {"a", "b"} else "_others")
        for component in ("a", "b", "c", "d", "c"):
            counts.add(component, ("current",))
        assert {name: slot.counts for name, slot in counts.items()} == {
            "a": {("current",): 1},
            "b": {("current",): 1},
            "_others": {("current",): 3},
        }

    def test_the_others_keep_what_they_have_counted_when_one_of_them_gets_its_own_series(self) -> None:
        shown = {"a"}
        counts = ByComponent(lambda name: name if name in shown else "_others")
        counts.add("a", ("x",))
        counts.add("b", ("x",), 5)
        shown.clear()
        shown.add("b")  # a was deleted
        counts.settle({"b": 1}.get)
        counts.add("b", ("x",), 2)
        assert {name: slot.counts for name, slot in counts.items()} == {"_others": {("x",): 5}, "b": {("x",): 2}}

    def test_a_component_that_loses_its_own_series_is_not_lost(self) -> None:
        shown = {"a"}
        counts = ByComponent(lambda name: name if name in shown else "_others")
        counts.add("a", ("x",), 4)
        shown.clear()
        counts.settle({"a": 1}.get)
        assert {name: slot.counts for name, slot in counts.items()} == {"_others": {("x",): 4}}

    def test_a_count_is_written_again_when_it_has_changed(self) -> None:
        counts = ByComponent()
        for expected in ("1", "2"):
            counts.add("a", ("current",))
            [(name, slot)] = counts.items()
            for _ in range(2):
                assert slot_text(families.JOBS, name, slot) == (
                    f'rampd_jobs_total{{component="a",channel="current"}} {expected}\n'
                )

    def test_what_is_expected_is_there_from_the_first_scrape_on(self) -> None:
        """Prometheus sees no increase from nothing to one."""
        rollback, step = ("ROLLBACK",), ("STEP",)
        counts = ByComponent(lambda name: name if name == "a" else "_others", expected=[rollback])
        scraped, others = counts.of("a"), counts.of("_others")
        assert scraped is not None
        assert scraped.counts == {rollback: 0}
        assert others is None
        counts.add("a", rollback)
        counts.add("b", step)
        assert {name: slot.counts for name, slot in counts.items()} == {
            "a": {rollback: 1},
            "_others": {rollback: 0, step: 1},
        }
