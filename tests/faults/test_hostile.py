"""An honest launcher goes on beside each kind of hostile client: its calls succeed, and its stream stays open."""

import time
from pathlib import Path

import pytest

from rampd import Admin, Resolver, Token
from tests.bench.hostile import LIMITS
from tests.bench.running import Access
from tests.hostile import ISSUER, KINDS, attacking
from tests.servers import ServerProcess, rampd_server
from tests.waiting import eventually

C = "restyler"
CALLS = 200
P99 = CALLS * 99 // 100
MOST_S = 50.0
"""The longest time of one call. Without limits, a call takes as long as the attack lasts."""
MOST_P99_S = dict.fromkeys(KINDS, 1.0) | {"huge headers": 3.0}
"""On an idle machine, the measured p99 is 0.7 s beside huge headers, and a few ms beside the other kinds."""
MOST_TIMES = 200
"""How many times the p99 before the attack it may be on a busy machine, on which the attack takes what is left, too."""
MOST_REFUSED_PER_S = 1_500
"""Twice the expected number: 200 calls at a time, each held for at least 0.3 s, and the refusals that are answered at once. The
number does not depend on the speed of the machine. A fast server that holds no refusal answers several thousand.
"""
REFUSED = {
    "flood of resolve": ("LIMIT_EXCEEDED", "hostile"),
    "flood of wrong tokens": ("BAD_CREDENTIALS", None),
    "flood of random key ids": ("BAD_CREDENTIALS", None),
    "flood of watch": ("LIMIT_EXCEEDED", "hostile"),
    "streams never read": ("LIMIT_EXCEEDED", "hostile"),
}
"""The reason and the identity that the log has for an attack. The other kinds are ended before a check."""


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_launcher_goes_on_beside_a_hostile_client(directory: Path, kind: str) -> None:
    access = Access.of(directory, honest="", hostile=LIMITS)
    access.trust(ISSUER)
    with rampd_server(directory, "--access-file", str(access.path)) as server:
        server.event("serving")
        credentials = Token(access.tokens["honest"])
        with Admin(server.target, credentials=Token(access.tokens["ops"]), timeout=60) as admin:
            admin.release(C, "t1")
        with (
            Resolver(server.target, credentials=credentials, timeout=60) as local,
            Resolver(server.target, mode="rpc", credentials=credentials, timeout=60) as rpc,
        ):
            assert local.resolve(C, repo="acme/app").tag == "t1"
            before = sorted(times_s(rpc, local))
            attack_began_s = time.monotonic()
            with attacking(kind, server.target, access.tokens["hostile"]):
                time.sleep(1)
                during = sorted(times_s(rpc, local))
                if kind in REFUSED:
                    eventually(lambda: REFUSED[kind] in refusals(server))
            assert during[-1] < MOST_S
            assert during[P99] < max(MOST_P99_S[kind], MOST_TIMES * before[P99]), f"it was {before[P99]:.4f} s before"
            if kind.startswith("flood"):
                assert number_of_refusals(server) < MOST_REFUSED_PER_S * (time.monotonic() - attack_began_s)
            # After the attack, calls succeed again.
            assert rpc.resolve(C, repo="acme/app").tag == "t1"
        for token in access.tokens.values():
            assert token not in "\n".join(server.raw)
        assert server.stop() == 0


def times_s(rpc: Resolver, local: Resolver) -> list[float]:
    """Returns the seconds of each call of an honest launcher. Its stream stays open meanwhile."""
    found = []
    for number in range(CALLS):
        began_s = time.monotonic()
        assert rpc.resolve(C, repo=f"acme/app-{number}").tag == "t1"
        found.append(time.monotonic() - began_s)
        # A busy server may have said nothing for so long that the stream began again, at once.
        eventually(lambda: local.status().connected)
    return found


def refusals(server: ServerProcess) -> set[tuple[str, str | None]]:
    return {(line["reason"], line["identity"]) for line in server.log if line.get("event") == "call_refused"}


def number_of_refusals(server: ServerProcess) -> int:
    """Counts the refusals up to the last line of the log."""
    return sum(1 + line["not_logged"] for line in server.log if line.get("event") == "call_refused")
