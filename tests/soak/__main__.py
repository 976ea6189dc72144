"""`make soak`, or `python -m tests.soak [--minutes N]`: finds out whether a client or a server leaks.

One server and one client run all the time. Meanwhile writers write, watchers come and go, and a second server is restarted,
killed and stopped. The soak fails if there are more file descriptors or threads at the end than at the start. It also fails if
memory grows by 1 MiB or more in 10 minutes, measured from the third minute on (a shorter run can't measure that). It prints a
table, and writes build/soak.json.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.markdown import table
from tests.servers import IN_PRODUCTION_S, rampd_server, short_directory
from tests.soak.samples import SETTLED_S, Course, Sample, least, slope, take
from tests.soak.storm import Storm
from tests.stores import REDIS, store_server

EVERY_S = 5.0
CALM_S = 20.0
WARM_S = 30.0
RESULT = Path("build/soak.json")


@dataclass(slots=True)
class Judged:
    """The two processes that are judged, and the samples of them."""

    process_ids: dict[str, int]
    client: "subprocess.Popen[str]"
    began_s: float = field(default_factory=time.monotonic)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    objects: list[tuple[float, int]] = field(default_factory=list)

    def look(self) -> dict[str, Sample]:
        at_s = time.monotonic() - self.began_s
        return {name: take(process_id, at_s) for name, process_id in self.process_ids.items()}

    def watch(self, seconds: float) -> dict[str, Sample]:
        """Returns the least that each process held in that time. So what comes and goes, as gRPC's threads do, does not count."""
        looks = []
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(0.5)
            looks.append(self.look())
        return {name: least([look[name] for look in looks]) for name in self.process_ids}

    def tell(self, line: str) -> None:
        assert self.client.stdin is not None
        self.client.stdin.write(f"{line}\n")
        self.client.stdin.flush()

    def ask(self) -> dict[str, Any]:
        self.tell("count")
        assert self.client.stdout is not None
        counts: dict[str, Any] = json.loads(self.client.stdout.readline())
        self.objects.append((time.monotonic() - self.began_s, counts["objects"]))
        return counts

    def follow(self, seconds: float) -> None:
        """Takes samples for that long, and forgets earlier samples."""
        self.began_s = time.monotonic()
        self.samples = {}
        while (left_s := seconds - (time.monotonic() - self.began_s)) > 0:
            samples = self.watch(min(EVERY_S, left_s))
            counts = self.ask()
            for name, sample in samples.items():
                self.samples.setdefault(name, []).append(sample)
            print(_line(self.samples, counts), file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the storm lasts (default: 10)")
    minutes = parser.parse_args().minutes
    courses, counts, judged = _soak(minutes * 60)
    rows = [_row(course) for course in courses]
    print(table(("process", "file descriptors", "threads", "gRPC's pool", "MiB", "MiB in 10 minutes"), rows))
    print("\n" + ", ".join(f"{number:,.0f} {what}" for what, number in counts.items() if what != "errors"))
    faults = [fault for course in courses for fault in course.faults()] + counts["errors"]
    print("\n".join(faults) or "No leak was found.")
    RESULT.parent.mkdir(exist_ok=True)
    result = {"minutes": minutes, "counts": counts, "faults": faults, "client_objects": judged.objects}
    RESULT.write_text(json.dumps({**result, "processes": list(map(_as_json, courses))}, indent=1) + "\n")
    return 1 if faults else 0


def _soak(seconds: float) -> tuple[list[Course], dict[str, Any], Judged]:
    with contextlib.ExitStack() as stack:
        steady_directory, directory = (stack.enter_context(short_directory()) for _ in range(2))
        store = stack.enter_context(store_server(REDIS))
        flags = ("--insecure-admin", "--redis-url", store.url)
        steady = stack.enter_context(rampd_server(steady_directory, *flags, store_deadline_s=IN_PRODUCTION_S))
        steady.event("serving")
        storm = stack.enter_context(Storm(steady, store.url, directory).running())
        client = stack.enter_context(_client(steady.target, f"unix:{storm.socket}"))
        judged = Judged({"server": steady.process.pid, "client": client.pid}, client)
        # In a first storm, the pools of threads and of connections grow to their full size.
        _run_storm(storm, judged, WARM_S)
        began = judged.watch(CALM_S)
        _run_storm(storm, judged, seconds)
        ended, counts = judged.watch(CALM_S), judged.ask()
        counts |= {"changes": storm.written, "watchers": storm.watched, "flaps": storm.flaps}
    return [Course(name, began[name], judged.samples[name], ended[name]) for name in began], counts, judged


def _run_storm(storm: Storm, judged: Judged, seconds: float) -> None:
    storm.is_active.set()
    judged.tell("storm")
    judged.follow(seconds)
    storm.is_active.clear()
    judged.tell("calm")
    # In this time the server's keepalive ends even the last watcher that left without a word, and the flapping server is back.
    time.sleep(CALM_S)


@contextlib.contextmanager
def _client(*targets: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.client", *targets],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # gRPC starts and ends thousands of threads, and malloc may give each thread another arena. From outside, the free
        # memory of an arena looks like a leak.
        env=os.environ | {"MALLOC_ARENA_MAX": "2"},
    )
    with process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _row(course: Course) -> list[str]:
    growth = slope(course.storm)
    return [
        course.name,
        f"{course.began.descriptors} -> {course.ended.descriptors}",
        f"{course.began.threads} -> {course.ended.threads}",
        f"{course.began.pool} -> {course.ended.pool}",
        f"{course.began.rss_mib:.1f} -> {course.ended.rss_mib:.1f}",
        f"{growth:+.2f}" if growth is not None else f"(needs more than {SETTLED_S / 60 + 2:.0f} minutes)",
    ]


def _line(samples: dict[str, list[Sample]], counts: dict[str, Any]) -> str:
    each = [
        f"{name} {last.rss_mib:.1f} MiB ({last.anonymous_mib:.1f}), {last.descriptors} descriptors, {last.threads} + {last.pool} threads"
        for name, (*_, last) in samples.items()
    ]
    at_s = next(iter(samples.values()))[-1].at_s
    return f"{at_s:4.0f} s  {'; '.join(each)}; {counts['objects']:,} objects"


def _as_json(course: Course) -> dict[str, Any]:
    samples = list(map(asdict, course.storm))
    began, ended = asdict(course.began), asdict(course.ended)
    return {"name": course.name, "slope": slope(course.storm), "began": began, "ended": ended, "samples": samples}


if __name__ == "__main__":
    sys.exit(main())
