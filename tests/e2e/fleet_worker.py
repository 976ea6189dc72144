"""A worker of a fleet: `python -m tests.e2e.fleet_worker TARGET NUMBER OF` runs jobs until SIGTERM.

Whether a job fails depends on its version. If the tag begins with `bad`, three repos in ten fail; otherwise one in a hundred
fails. Every run has the same failing repos. At the end it prints how many jobs ran, and how many of them got no version.
"""

import itertools
import signal
import sys
import threading
from zlib import crc32

from rampd import Resolver

COMPONENT = "restyler"
REPOS = 20_000
PAUSE_S = 0.004


def main(target: str, number: int, of: int) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    jobs = lost = 0
    with Resolver(target, timeout=60) as resolver:
        for jobs in itertools.count():
            if stop.wait(PAUSE_S):
                break
            repo = f"acme/app-{(jobs * of + number) % REPOS}"
            with resolver.job(COMPONENT, repo=repo, fallback="none") as job:
                lost += job.tag == "none"
                if crc32(f"{job.tag} {repo}".encode()) % 100 < (30 if job.tag.startswith("bad") else 1):
                    job.failed()
    print(jobs, lost, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
