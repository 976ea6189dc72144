"""The dashboard, the alerts and the runbook fit together, and Prometheus gets an answer to every expression of them."""

import asyncio
import contextlib
import itertools
import json
import re
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
import yaml
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd._decision.resolution import Decision
from rampd_server import testing
from rampd_server.listeners import Listening
from rampd_server.metrics.counting import Labels
from rampd_server.process.address import Address
from rampd_server.rpc import answer_counts
from tests.certificates import make_certificate
from tests.contract.going_back import copied
from tests.damaging import damage, make_servers_read_again
from tests.ports import free_port
from tests.prometheus import PrometheusServer, prometheus
from tests.proxy import Proxy, proxy_to_unix
from tests.rpc.test_metrics import REPO, C, begin, run_jobs
from tests.servers import Stubs, require, short_directory, stubs
from tests.stores import VALKEY, StoreServer, store_server
from tests.waiting import eventually

FOLDER = Path(__file__).parents[2] / "docs" / "observability"
ALERTS = FOLDER / "alerts.yaml"
RUNBOOK = (FOLDER / "runbook.md").read_text()
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS = DASHBOARD["panels"]
METRIC = re.compile(r"\b(?:rampd|process)_\w+")
SELECTOR = re.compile(r"\b(?:rampd|process)_\w+(?:\{[^}]*\})?")


def expressions() -> list[tuple[str, str]]:
    """Every expression of the dashboard, with the title of its panel."""
    return [(panel["title"], target["expr"]) for panel in PANELS for target in panel.get("targets", ())]


ALL = [*expressions(), *((rule["alert"], rule["expr"]) for rule in RULES)]


# --- The documents


def test_the_dashboard_takes_its_datasource_from_a_variable() -> None:
    panels = [panel for panel in PANELS if panel["type"] != "row"]
    asking = [*panels, *(target for panel in panels for target in panel["targets"]), DASHBOARD["templating"]["list"][1]]
    assert [each["datasource"] for each in asking] == [{"type": "prometheus", "uid": "${datasource}"}] * len(asking)
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["datasource", "component"]
    assert DASHBOARD["schemaVersion"] >= 39
    assert DASHBOARD["id"] is None


def test_each_panel_has_its_own_number_and_its_own_place() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]


def test_each_panel_says_what_it_shows_and_in_which_unit() -> None:
    for panel in PANELS:
        if panel["type"] == "row":
            continue
        title, targets = panel["title"], panel["targets"]
        assert panel["description"].endswith("."), title
        assert len({target["refId"] for target in targets}) == len(targets), title
        if panel["type"] != "table":
            assert panel["fieldConfig"]["defaults"]["unit"], title
            assert "__auto" not in {target["legendFormat"] for target in targets}, title


def test_each_label_of_a_legend_is_in_the_expression() -> None:
    legends = [(target["legendFormat"], target["expr"]) for panel in PANELS for target in panel.get("targets", ())]
    for legend, expression in legends:
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= labels_of(expression), expression


def labels_of(expression: str) -> set[str]:
    """The labels that the answer to an expression has."""
    return {label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(", ")}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_how_urgent_it_is_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert all(notes[name].endswith(".") for name in ("summary", "description"))
    assert notes["runbook_url"].endswith(f"/docs/observability/runbook.md#{rule['alert'].lower()}")
    used = set(re.findall(r"\$labels\.(\w+)", notes["summary"] + notes["description"]))
    assert used <= labels_of(rule["expr"])


def test_each_alert_has_a_section_of_the_runbook_and_no_section_is_left_over() -> None:
    sections = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]
    assert sorted(section.split("\n")[0] for section in sections) == sorted(rule["alert"] for rule in RULES)
    for section in sections:
        said = re.findall(r"^\*\*([^*]+)\.\*\*", section, re.MULTILINE)
        assert said == ["What it means", "What jobs get", "What to look at", "What to type"], section
        assert "```" in section, section


def test_each_link_of_the_runbook_leads_to_a_section() -> None:
    for file, anchor in re.findall(r"\]\(([\w./]*)#([\w-]+)\)", RUNBOOK):
        text = (FOLDER / file).read_text() if file else RUNBOOK
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, (file, anchor)
    for file in re.findall(r"\]\(([\w./]+)\)", RUNBOOK):
        assert (FOLDER / file).exists(), file


def test_each_metric_that_a_document_names_is_listed_in_metrics() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (FOLDER / "metrics.md").read_text(), re.MULTILINE)
    listed = {
        f"{name}{end}"
        for name, kind in rows
        for end in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    used = {name for _, expression in ALL for name in METRIC.findall(expression)}
    assert used <= listed
    # The dashboard leaves none out.
    shown = {name for _, expression in expressions() for name in METRIC.findall(expression)}
    left_out = {name for name, _ in rows} - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert left_out == {"process_virtual_memory_bytes"}


def test_no_expression_depends_on_how_the_job_of_prometheus_is_called() -> None:
    assert [title for title, expression in ALL if re.search(r"\bjob\b", expression)] == []


# --- The time of the alerts, with series that are written by hand: a sample each minute


class Case(NamedTuple):
    alert: str
    series: dict[str, str]
    before: int
    """A minute at which it does not fire yet."""
    during: int
    """A minute at which it fires."""
    after: int
    """A minute at which it does not fire any more."""


HERE = 'instance="rampd-1.example:8080"'
OTHER = 'instance="web.example:80"'
THERE = 'instance="rampd-2.example:8080"'
DECISION = 'rampd_decisions_total{component="restyler", decision="ROLLBACK", cause="RELATIVE_GUARD", applied="%s"}'
PAUSE = 'rampd_decisions_total{component="restyler", decision="PAUSE", cause="%s", applied="true"}'
LAG = f"rampd_event_loop_lag_seconds_bucket{{{HERE}, le=%s}}"
ALIVE = {f"rampd_build_info{{{HERE}}}": "1+0x900", f"up{{{HERE}}}": "1+0x900"}
CASES = [
    Case("RampdNoServer", {f"rampd_build_info{{{HERE}}}": "1+0x9 stale _x14 1+0x20"}, 12, 17, 30),
    # It is down, and Prometheus does not forget it.
    Case(
        "RampdServerGone",
        {f"up{{{THERE}}}": "1+0x9 0+0x200 1+0x30", f"rampd_build_info{{{THERE}}}": "1+0x9 stale"},
        14,
        25,
        225,
    ),
    # It answers each scrape, and yet it starts every ten minutes.
    Case(
        "RampdServerGone",
        {
            f"process_start_time_seconds{{{THERE}}}": "1+0x9 600+0x9 1200+0x9 1800+0x9 2400+0x70",
            f"rampd_build_info{{{THERE}}}": "1+0x120",
        },
        *(35, 50, 85),
    ),
    Case("RampdCopyStale", {f"rampd_copy_stale{{{HERE}}}": "0+0x9 1+0x9 0+0x10"}, 11, 14, 21),
    Case(
        "RampdStoreErrors",
        {f'rampd_store_errors_total{{{HERE}, reason="STORE_UNAVAILABLE"}}': "0+0x9 1+1x20 21+0x30"},
        *(15, 25, 40),
    ),
    # The copy is not confirmed for a moment, and then it is as the store is.
    Case(
        "RampdWritesLost",
        {f'rampd_writes_lost_total{{{HERE}, component="restyler"}}': "0+0x9 stale _x1 3+0x120"},
        *(9, 13, 75),
    ),
    Case(
        "RampdPrimaryChanges",
        {f"rampd_store_primary_changes_total{{{HERE}}}": "0+0x9 1+0x4 2+0x4 3+0x120"},
        *(18, 25, 75),
    ),
    Case(
        "RampdRefusalsRise",
        {
            f'rampd_rpc_calls_total{{{HERE}, method="Resolve", status="OK", reason=""}}': "0+600x120",
            f'rampd_rpc_calls_total{{{HERE}, method="Resolve", status="NOT_FOUND", reason="COMPONENT_NOT_FOUND"}}': (
                "0+0x9 0+60x30 1800+0x60"
            ),
        },
        *(20, 35, 60),
    ),
    Case(
        "RampdEventLoopLag",
        {LAG % '"0.1"': "0+300x9 2700+0x29 3000+300x40", LAG % '"0.25"': "0+300x80", LAG % '"+Inf"': "0+300x80"},
        *(15, 25, 50),
    ),
    Case(
        "RampdOutcomesIgnored",
        {
            f"rampd_outcomes_accepted_total{{{HERE}}}": "0+60x120",
            f'rampd_outcomes_ignored_total{{{HERE}, reason="ASSIGNMENT_MISMATCH"}}': "0+0x9 0+30x40 1200+0x60",
        },
        *(20, 40, 75),
    ),
    Case(
        "RampdFileRefused",
        # For hours, because nothing but a good file ends it.
        {f'rampd_file_refused{{{HERE}, file="certificate"}}': "0+0x9 1+0x140 0+0x10"},
        *(11, 140, 155),
    ),
    Case(
        "RampdCertificateEnds",
        # The clock of promtool begins in 1970. Fourteen days before the end are ten minutes later.
        {f"rampd_certificate_expire_timestamp_seconds{{{HERE}}}": f"{14 * 86400 + 600}+0x30 {90 * 86400}+0x30"},
        *(15, 25, 35),
    ),
    Case(
        "RampdComponentsDamaged",
        {f"rampd_components_damaged{{{HERE}}}": "0+0x9 1+0x1 stale _x1 1+0x20 0+0x30"},
        *(14, 18, 36),
    ),
    Case(
        "RampdComponentsSummed",
        {f"rampd_components_summed{{{HERE}}}": "0+0x9 5+0x9 stale _x4 5+0x25 0+0x20"},
        *(20, 30, 55),
    ),
    Case("RampdRolledBack", {DECISION % "true": "0+0x9 1+0x120"}, 9, 12, 75),
    Case("RampdWouldHaveRolledBack", {DECISION % "false": "0+0x9 1+0x120"}, 9, 12, 75),
    Case("RampdPausedByAutomation", {PAUSE % "ASSIGNMENT_CHECK": "0+0x9 1+0x120"}, 9, 12, 75),
    # The server starts again at minute 120, and its copy is not confirmed for some minutes.
    Case(
        "RampdHeld",
        {'rampd_held{component="restyler"}': "0+0x9 1+0x109 stale _x4 1+0x184 0+0x20"},
        *(240, 260, 315),
    ),
    Case(
        "RampdRolloutWaits",
        {
            # First it waits for an approval, then somebody pauses it: both is waiting for a person.
            # At minute 200 the server starts again, which takes some minutes.
            'rampd_rollout_seconds_total{component="restyler", doing="waiting"}': (
                "0+60x199 stale _x4 0+60x195 11700+0x460"
            ),
            'rampd_rollout_seconds_total{component="restyler", doing="paused"}': "0+0x400 60+60x399 24000+0x60",
        },
        *(700, 790, 820),
    ),
]
QUIET = {
    "jobs that still ran when their rollout ended": {
        f"rampd_outcomes_accepted_total{{{HERE}}}": "0+60x120",
        f'rampd_outcomes_ignored_total{{{HERE}, reason="ROLLOUT_ENDED"}}': "0+60x120",
    },
    "an admin who mistypes, on a server without other calls": {
        f'rampd_rpc_calls_total{{{HERE}, method="Ramp", status="OK", reason=""}}': "0+0x120",
        f'rampd_rpc_calls_total{{{HERE}, method="Ramp", status="NOT_FOUND", reason="COMPONENT_NOT_FOUND"}}': "0+1x120",
    },
    "a certificate that is replaced: its two files do not fit together for a moment": {
        f'rampd_file_refused{{{HERE}, file="certificate"}}': "0+0x9 1+0x0 0+0x111",
    },
    "a plan that pauses a rollout which the policy only reports": {
        'rampd_decisions_total{component="restyler", decision="PAUSE", cause="STUCK", applied="false"}': "0+0x9 1+0x110",
    },
    "a step that waits for its approval": {PAUSE % "APPROVAL": "0+0x9 1+0x110"},
    "a server that is started again twice": {
        f"up{{{HERE}}}": "1+0x9 0+0x2 1+0x9 0+0x2 1+0x97",
        f"process_start_time_seconds{{{HERE}}}": "1+0x9 stale _x2 600+0x9 stale _x2 1200+0x97",
    },
    "another program that is down, and one that starts all the time": {
        f"up{{{OTHER}}}": "1+0x9 0+0x111",
        f"process_start_time_seconds{{{OTHER}}}": "1+60x120",
    },
    "a server that is taken out of the configuration of Prometheus": {
        f"up{{{THERE}}}": "1+0x9 stale",
        f"rampd_build_info{{{THERE}}}": "1+0x9 stale",
    },
    "two failovers that lose nothing": {
        f"rampd_store_primary_changes_total{{{HERE}}}": "0+0x9 1+0x9 2+0x101",
        f'rampd_writes_lost_total{{{HERE}, component="restyler"}}': "0+0x120",
    },
    "a store that fails for a moment": {
        f'rampd_store_errors_total{{{HERE}, reason="STORE_UNAVAILABLE"}}': "0+0x9 3+0x111",
        f"rampd_copy_stale{{{HERE}}}": "0+0x9 1+0x1 0+0x109",
    },
}


def firing(alerts: list[str], minute: int) -> dict[str, object]:
    """Says that exactly these alerts fire at a minute."""
    return {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
    }


def began_once(alert: str, minute: int) -> dict[str, object]:
    """Says that until a minute this alert has begun to fire once, and no other one has."""
    fires = 'ALERTS{alertstate="firing"}'
    return {
        "expr": f"sum by (alertname) (sum_over_time(({fires} unless {fires} offset 1m)[{minute}m:1m]))",
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}],
    }


def promtool(directory: Path, series: dict[str, str], checks: list[dict[str, object]]) -> None:
    samples = [{"series": name, "values": values} for name, values in (ALIVE | series).items()]
    test = {"interval": "1m", "input_series": samples, "promql_expr_test": checks}
    file = directory / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
    ran = subprocess.run([require("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_each_alert_fires_and_resolves(case: Case, directory: Path) -> None:
    """Given series of one trouble, expect its alert and no other one, once, only after its time, and not after the trouble."""
    checks = [firing([], case.before), firing([case.alert], case.during), firing([], case.after)]
    promtool(directory, case.series, [*checks, began_once(case.alert, case.after)])


def test_each_alert_is_tried() -> None:
    assert list(dict.fromkeys(case.alert for case in CASES)) == [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("what", QUIET)
def test_what_is_usual_fires_nothing(what: str, directory: Path) -> None:
    promtool(directory, QUIET[what], [firing([], minute) for minute in range(1, 120)])


# --- A real Prometheus, which scrapes a real server through a story

CONFIGURATION = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}
rule_files: ["{rules}"]
scrape_configs:
  - {{job_name: any-name, static_configs: [{{targets: ["{target}"]}}]}}
"""
FIRE = (
    *(
        "RampdCopyStale",
        "RampdStoreErrors",
        "RampdWritesLost",
        "RampdRefusalsRise",
        "RampdEventLoopLag",
        "RampdOutcomesIgnored",
    ),
    *("RampdFileRefused", "RampdCertificateEnds", "RampdComponentsDamaged", "RampdComponentsSummed", "RampdRolledBack"),
    *("RampdWouldHaveRolledBack", "RampdPausedByAutomation", "RampdHeld", "RampdRolloutWaits"),
)
"""The alerts that fire in the story, and resolve."""
GONE = ("RampdNoServer", "RampdServerGone")
"""The alerts that fire when the server has ended, and resolve when it runs again."""
FOR_SENTINELS = ("RampdPrimaryChanges",)
"""The alerts about what a store without Sentinels does not do."""
D = "website"
THIRD = "one-too-many"
"""Only two components have series of their own."""
WINDOWS = ("5s", "10m")
"""What may be shown: a short time, and a time that has the whole story."""


class Asked:
    """A Prometheus, and what it answers."""

    def __init__(self, source: PrometheusServer) -> None:
        self._url = f"{source.url}/api/v1"

    def __call__(self, query: str) -> list[float]:
        """The values of all series of the answer. NaN is no value."""
        answer = httpx.get(f"{self._url}/query", params={"query": query}, timeout=30).json()
        assert answer["status"] == "success", (query, answer)
        values = [float(series["value"][1]) for series in answer["data"]["result"]]
        return [value for value in values if value == value]  # noqa: PLR0124 - NaN

    def label_values(self, metric: str, label: str) -> list[str]:
        """What Grafana gets for `label_values(metric, label)` of a variable."""
        answer = httpx.get(f"{self._url}/label/{label}/values", params={"match[]": metric}, timeout=30).json()
        assert answer["status"] == "success", answer
        found: list[str] = answer["data"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """The rules as Prometheus has judged them."""
        groups = httpx.get(f"{self._url}/rules", timeout=30).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def wait_for_scrape(self) -> None:
        """Waits for a scrape that began after now."""
        now_s = time.time()
        eventually(lambda: any(at_s > now_s for at_s in self("timestamp(rampd_build_info)")))

    def is_firing(self, alert: str) -> bool:
        return bool(self(f'ALERTS{{alertname="{alert}", alertstate="firing"}}'))

    def has_fired(self, alert: str) -> bool:
        return bool(self(f'count_over_time(ALERTS{{alertname="{alert}", alertstate="firing"}}[10m])'))


class Scene(NamedTuple):
    """A server, its store, and the Prometheus that scrapes it."""

    ask: Asked
    call: Stubs
    proxy: Proxy
    store: StoreServer
    certificate: Path
    handshake: Callable[[], object]
    """Makes the server look at its certificate."""
    end: Callable[[], object]
    """Ends the server."""
    begin_again: Callable[[], object]
    """Starts it again at the same address."""


@contextlib.contextmanager
def scraped_server() -> Iterator[Scene]:
    """A server with TLS, whose store can be lost, and a Prometheus that scrapes it and asks for the alerts at once."""
    with contextlib.ExitStack() as stack:
        folder, data = (stack.enter_context(short_directory()) for _ in range(2))
        store = stack.enter_context(store_server(VALKEY))
        proxy = stack.enter_context(proxy_to_unix(store.url.removeprefix("unix://")))
        source = stack.enter_context(prometheus(folder, scrapes=1))
        certificate, key = make_certificate(folder)
        settings = {
            "listen": (Address("127.0.0.1", 0, is_tls=True),),
            "tls_cert": certificate,
            "tls_key": key,
            "prometheus_url": source.url,
            "metrics_components": 2,
        }
        url = f"redis://127.0.0.1:{proxy.port}"
        server = stack.enter_context(contextlib.ExitStack())
        http = Address("127.0.0.1", free_port(), is_tls=False)

        def begin_again() -> Listening:
            return server.enter_context(testing.listening(data, url, http=http, **settings))

        at = begin_again()
        rules = folder / "alerts.yml"
        rules.write_text(shortened(ALERTS.read_text()))
        configuration = CONFIGURATION.format(rules=rules, target=f"{http.host}:{http.port}")
        (folder / "prometheus.yml").write_text(configuration)
        source.signal(signal.SIGHUP)
        ask = Asked(source)
        eventually(lambda: ask("rampd_build_info"))
        call = stack.enter_context(stubs(f"unix:{data}/rampd.sock"))
        yield Scene(
            *(ask, call, proxy, store, certificate, lambda: handshake(at.grpc)),
            *(server.close, begin_again),
        )


def handshake(address: Address) -> None:
    with contextlib.suppress(OSError):
        ssl.get_server_certificate((address.host, address.port))


def shortened(rules: str) -> str:
    """The same alerts, with seconds in place of hours."""
    rules = re.sub(r"\[\d+[mh]\]", "[10s]", re.sub(r"for: \d+[mh]", "for: 1s", rules))
    # On a busy machine some timer is late in nearly every 10 s.
    return rules.replace("event_loop_lag_seconds_bucket[10s]", "event_loop_lag_seconds_bucket[3s]")


@pytest.fixture(scope="module")
def story() -> Iterator[Scene]:
    """A release, a ramp, failures, what NOTIFY would have done, a rollback, and a store that is away for a while. Beside it an
    automation that pauses, a loop that stands still, a component too many, a launcher that is set up wrong, a wrong file, and keys
    that somebody breaks.
    """
    with scraped_server() as scene:
        ask, call, proxy = scene.ask, scene.call, scene.proxy
        begin_to_pause(call)
        check = v1.Check(name="errors", query="vector(0.25)", max=0.5, interval=Duration(seconds=1))
        begin(call, checks=[check], on_regression=v1.ON_REGRESSION_NOTIFY)
        call("Release", component=THIRD, tag="t1")
        hold_up(scene)
        eventually(lambda: ask.is_firing("RampdComponentsSummed"))
        call("DeleteComponent", component=THIRD, confirm=THIRD)
        eventually(lambda: ask('rampd_check_state{state="passing"} == 1'))
        for sequence in range(1, 5):
            run_jobs(call, "current", 4, failed=1, sequence=2 * sequence)
            run_jobs(call, "next", 3 * sequence, failed=3 * sequence, sequence=2 * sequence + 1)
            with pytest.raises(grpc.RpcError):
                call("Resolve", component="nobody", repo=REPO)
            ask.wait_for_scrape()
        eventually(lambda: ask.has_fired("RampdWouldHaveRolledBack"))
        policy = v1.Policy(on_regression=v1.ON_REGRESSION_ROLLBACK)
        call("SetPolicy", component=C, policy=policy, update_mask={"paths": ["on_regression"]})
        eventually(lambda: ask("rampd_held == 1"))
        eventually(lambda: ask.has_fired("RampdRolledBack"))
        for alert in ("RampdPausedByAutomation", "RampdRolloutWaits"):
            eventually(lambda alert=alert: ask.has_fired(alert))
        call_wrongly(scene)
        replace_wrongly(scene)
        proxy.is_silent.set()
        eventually(lambda: ask.is_firing("RampdCopyStale"))
        eventually(lambda: ask.is_firing("RampdStoreErrors"))
        proxy.is_silent.clear()
        eventually(lambda: ask("rampd_held == 1"))
        asyncio.run(lose_a_change(scene, D))
        eventually(lambda: ask.has_fired("RampdWritesLost"))
        asyncio.run(break_keys(scene.store, D))
        eventually(lambda: ask.is_firing("RampdComponentsDamaged"))
        call("DeleteComponent", component=D, confirm=D)
        yield scene


def begin_to_pause(call: Stubs) -> None:
    """Makes a rollout that a check pauses after some seconds."""
    check = v1.Check(name="errors", query="vector(1)", max=0.5, interval=Duration(seconds=1), failures_allowed=2)
    call("Release", component=D, tag="t1")
    call("SetPolicy", component=D, policy=v1.Policy(checks=[check], on_regression=v1.ON_REGRESSION_PAUSE))
    call("Release", component=D, tag="t2")
    call("Ramp", component=D, percent=10)


def hold_up(scene: Scene) -> None:
    """Keeps the event loop of the server from its work for a moment, again and again until the alert fires."""
    found = answer_counts.labels_of

    def slowly(decision: Decision) -> Labels:
        if not decision.release:
            # Shorter than a scrape may take.
            time.sleep(0.4)
        return found(decision)

    def fires() -> bool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(answer_counts, "labels_of", slowly)
            scene.call("Resolve", component=C, repo="acme/pinned")
        scene.ask.wait_for_scrape()
        return scene.ask.is_firing("RampdEventLoopLag")

    scene.call("SetOverride", component=C, repo="acme/pinned", tag="pinned")
    eventually(fires)


def call_wrongly(scene: Scene) -> None:
    """Asks for a component that does not exist, and reports what Resolve has never answered, until the alerts fire."""
    numbers = itertools.count(1)

    def fires() -> bool:
        sequence = next(numbers)
        told = scene.call("Resolve", component=C, repo=REPO)
        named = {name: getattr(told, name) for name in ("release", "channel", "reason")}
        made = v1.Outcome(component=C, repo=REPO, revision=1_000_000, result=v1.OUTCOME_RESULT_SUCCEEDED, **named)
        answer = scene.call("ReportOutcomes", client_id="wrong", sequence=sequence, outcomes=[made] * 10)
        assert {each.reason for each in answer.ignored} == {"REVISION_UNKNOWN"}, answer
        for _ in range(10):
            with pytest.raises(grpc.RpcError):
                scene.call("Resolve", component="nobody", repo=REPO)
        scene.ask.wait_for_scrape()
        return all(map(scene.ask.is_firing, ("RampdRefusalsRise", "RampdOutcomesIgnored")))

    eventually(fires)


def replace_wrongly(scene: Scene) -> None:
    """Replaces the certificate, which is valid for two days, by something else, and after the alert by one that lasts longer."""

    def fires() -> bool:
        scene.handshake()
        return scene.ask.is_firing("RampdFileRefused")

    eventually(lambda: scene.ask.is_firing("RampdCertificateEnds"))
    scene.certificate.write_text("no certificate")
    eventually(fires)
    make_certificate(scene.certificate.parent, days=90)
    eventually(lambda: not fires())


async def lose_a_change(scene: Scene, component: str) -> None:
    """Puts the store back to how it was before a change, as a failover does."""
    store = scene.store.store()
    async with copied(scene.store, store) as put_back:
        scene.call("SetOverride", component=component, repo=REPO, tag="pinned")
        await put_back()
    await store.close()


async def break_keys(server: StoreServer, component: str) -> None:
    store = server.store()
    await damage(store, component, "releases", "type")
    await make_servers_read_again(store, component)
    await store.close()


def as_shown(expression: str, window: str) -> str:
    """What Grafana asks Prometheus."""
    for name in ("$__rate_interval", "$__range"):
        expression = expression.replace(name, window)
    return expression.replace("$component", C)


def test_each_panel_shows_something_after_the_story(story: Scene) -> None:
    """`pytest -s` prints how many series each panel shows, and one of their values."""

    def shown(expression: str) -> list[float]:
        return next(filter(None, (story.ask(as_shown(expression, window)) for window in WINDOWS)), [])

    def empty() -> list[tuple[str, str]]:
        return [(title, expression) for title, expression in expressions() if not shown(expression)]

    with contextlib.suppress(AssertionError):
        eventually(lambda: not empty())
    for title, expression in expressions():
        values = shown(expression)
        print(f"{title}: {len(values)} series" + (f", such as {values[0]:.6g}" if values else ""))
    assert empty() == []


def test_the_variable_of_the_dashboard_offers_the_components(story: Scene) -> None:
    variable = DASHBOARD["templating"]["list"][1]
    query = variable["query"]["query"]
    assert variable["definition"] == query
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()
    assert story.ask.label_values(metric, label) == [C, D]


def test_prometheus_gets_an_answer_to_each_alert(story: Scene) -> None:
    """Given the alerts as the document has them, with their hours, expect no error; and none of the rules that judge the story."""
    for rule in RULES:
        story.ask(rule["expr"])
    judged = story.ask.rules()
    assert sorted(rule["name"] for rule in judged) == sorted(rule["alert"] for rule in RULES)
    assert [(rule["name"], rule.get("lastError")) for rule in judged if rule["health"] != "ok"] == []


def test_each_series_that_an_alert_needs_is_there_after_the_story(story: Scene) -> None:
    selectors = {selector for rule in RULES for selector in SELECTOR.findall(rule["expr"])}
    assert [each for each in sorted(selectors) if not story.ask(f"count_over_time({each}[10m])")] == []


def test_alerts_of_the_story_have_fired_and_resolve_also_those_of_a_server_that_has_ended(story: Scene) -> None:
    assert sorted([*FIRE, *GONE, *FOR_SENTINELS]) == sorted(rule["alert"] for rule in RULES)
    eventually(lambda: story.ask.is_firing("RampdHeld"))
    story.call("Abandon", component=C)
    for alert in FIRE:
        assert story.ask.has_fired(alert), alert
        eventually(lambda alert=alert: not story.ask.is_firing(alert))
    for alert in GONE:
        # The server may have been too busy for a scrape.
        eventually(lambda alert=alert: not story.ask.is_firing(alert))
    story.end()
    for alert in GONE:
        eventually(lambda alert=alert: story.ask.is_firing(alert))
    story.begin_again()
    for alert in GONE:
        eventually(lambda alert=alert: not story.ask.is_firing(alert))
