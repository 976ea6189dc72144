"""Types the commands of docs/operations.md, in their order, with other folders and another port, and runs its unit of systemd."""

import asyncio
import contextlib
import json
import math
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import yaml

import rampd
from rampd import Token, TokenFile
from rampd_server.access import access_file
from rampd_server.rpc.binding import NAMES
from tests.bench.__main__ import BENCHMARKS
from tests.contract.going_back import copied
from tests.e2e.test_readme import shows
from tests.servers import ServerProcess, rampd_server, require
from tests.stores import VALKEY, StoreServer
from tests.waiting import eventually

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "operations.md").read_text()
BOXES = [textwrap.dedent(box) for box in re.findall(r"^ *```console\n(.*?)^ *```", DOCUMENT, re.DOTALL | re.MULTILINE)]
[UNIT] = re.findall(r"```ini\n(.*?)```", DOCUMENT, re.DOTALL)
SHOWN_TOKEN, SHOWN_DIGEST = "rampd_0LAhznPqRT4Uh8Wjzm5nAQl7TTE1wFzXVxFvlRQJ5CbYi3M2X", "sha256:51b0c9d8e7f6"
VARIABLE = [
    (r"rampd_[0-9A-Za-z]{49}", "TOKEN"),
    (r"sha256:[0-9a-f]{12}", "DIGEST"),
    (r"20[23]\d-\d\d-\d\d \d\d:\d\d UTC", "END"),
    (r"20[23]\d-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"by (?:a failover or with an older copy of its data|the failover from \S+ to \S+)", "HOW"),
]


class Admin:
    """An admin at a terminal, on a machine where `/etc/rampd` is a folder of the test."""

    def __init__(self, directory: Path) -> None:
        self.etc = directory / "etc"
        self.etc.mkdir(mode=0o755)
        self.address = ""
        self.learned: dict[str, str] = {}
        """What the document shows of random values, and what they are here."""
        programs = directory / "bin"
        programs.mkdir()
        for name, runs in (
            ("rampd-server", f"{sys.executable} -m rampd_server"),
            ("rampd", f"{sys.executable} -m rampd_cli -o table"),  # as on a terminal
            ("python3", sys.executable),
        ):
            (programs / name).write_text(f'#!/bin/sh\nexec {runs} "$@"\n')
            (programs / name).chmod(0o755)
        self._path = f"{programs}:{os.environ['PATH']}"
        self._variables = ""
        self.data = directory / "data"
        (directory / "backups").mkdir()

    def here(self, text: str) -> str:
        text = text.replace("runuser -u rampd -- ", "")  # here one user does everything
        text = text.replace("/etc/rampd", str(self.etc)).replace("DNS:rampd.example.com", "DNS:localhost")
        text = text.replace("/var/lib/rampd", str(self.data)).replace(
            "/var/backups", str(self.data.with_name("backups"))
        )
        text = text.replace("rampd.example.com:50051", self.address).replace("chgrp rampd", f"chgrp {os.getgid()}")
        for shown, actual in self.learned.items():
            text = text.replace(shown, actual)
        return text

    def types(self, box: str) -> list[str]:
        """Types the commands of a box, one after the other; everything that they printed."""
        printed = []
        for command, shown in typed(box):
            if command.startswith("export "):
                self._variables += f"{self.here(command)}\n"
                continue
            done = subprocess.run(
                ["bash", "-c", self._variables + self.here(command)],
                cwd=self.etc.parent, env={**os.environ, "PATH": self._path},
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            lines = (done.stdout + done.stderr).rstrip("\n").splitlines()
            assert done.returncode == 0, f"{command}\n" + "\n".join(lines)
            assert shows(*(list(map(without_variable, each)) for each in (self.here(shown).splitlines(), lines))), (
                f"{command}\n" + "\n".join(lines)
            )
            printed += lines
        return printed


def typed(box: str) -> Iterator[tuple[str, str]]:
    """Each command of a box, and what the document shows after it."""
    for part in re.split(r"^\$ ", box, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = 1
        while lines[end - 1].endswith("\\") or "\n".join(lines[:end]).count("'") % 2:
            end += 1
        yield "\n".join(lines[:end]), "\n".join(lines[end:])


def without_variable(line: str) -> str:
    for pattern, name in VARIABLE:
        line = re.sub(pattern, name, line)
    return line


@contextlib.contextmanager
def serving(admin: Admin) -> Iterator[ServerProcess]:
    """A server with the flags of the unit."""
    [command] = re.findall(r"^ExecStart=/opt/rampd/bin/rampd-server ((?:.*\\\n)*.*)", UNIT, re.MULTILINE)
    words = shlex.split(admin.here(re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", command).replace("\\\n", " ")))
    assert words[-2:] == ["--data-dir", str(admin.data)]
    with rampd_server(admin.data, *words[:-2]) as server:
        server.event("serving")
        yield server


def test_the_commands_print_what_the_document_shows(directory: Path) -> None:
    require("openssl")
    require("jq")
    certificate, access, first_calls, others, back_up, read_backup, lost, another_token, another_certificate, leaked = (
        BOXES
    )
    admin = Admin(directory)
    admin.types(certificate)
    assert (admin.etc / "server.key").stat().st_mode & 0o777 == 0o640
    said = admin.types(access)
    admin.learned[SHOWN_TOKEN] = said[0]
    with serving(admin) as server:
        admin.address = f"localhost:{server.target.rpartition(':')[2]}"
        admin.types(first_calls)
        listed = admin.types(others)
        admin.learned[SHOWN_DIGEST] = next(line for line in listed if line.startswith("launchers-eu\t"))[-19:]
        admin.types(back_up)
        admin.types(read_backup)
        asyncio.run(lose_a_change(server))
        admin.types(lost)
        admin.types(another_token)
        grants = access_file.read(admin.etc / "access.toml", names=NAMES).grants
        assert [(grant.name, len(grant.tokens)) for grant in grants] == [("ada", 1), ("launchers-eu", 1), ("grace", 1)]
        assert (admin.etc / "access.toml").stat().st_mode & 0o777 == 0o640
        assert "Verify return code: 0 (ok)" in "\n".join(admin.types(another_certificate))
        eventually(lambda: [line for line in server.log if line.get("event") == "certificate_changed"])
        use_the_token_of_grace(admin, server)
        admin.types(leaked)
        assert server.stop() == 0
    assert admin.learned[SHOWN_TOKEN] not in json.dumps(server.log)


async def lose_a_change(server: ServerProcess) -> None:
    """Puts the store back to how it was before a change, as a failover does, and waits until the server has recorded it."""
    embedded = StoreServer(VALKEY, f"unix://{server.directory}/valkey/valkey.sock")
    store = embedded.store()
    async with copied(embedded, store) as put_back:
        with rampd.Admin(f"unix:{server.socket}", timeout=60) as caller:
            caller.release("restyler", "20200409")
        await put_back()
    await store.close()
    server.event("writes_lost")


def use_the_token_of_grace(admin: Admin, server: ServerProcess) -> None:
    """Makes the changes that the document shows, and two that are not hers."""
    target, ca_file = f"https://{admin.address}", admin.etc / "ca.pem"
    for credentials, actor in (
        (TokenFile(admin.etc.parent / "grace.token"), ""),
        (TokenFile(admin.etc.parent / "grace.token"), "build-42"),
        (Token(admin.learned[SHOWN_TOKEN]), "grace"),
    ):
        with rampd.Admin(target, credentials=credentials, ca_file=ca_file, actor=actor, timeout=60) as caller:
            caller.set_override("restyler", f"acme/{actor or 'app'}", tag="20200301")
    with rampd.Admin(f"unix:{server.socket}", actor="grace", timeout=60) as caller:
        caller.set_override("restyler", "acme/claimed", tag="20200301")


def test_the_unit_is_one_for_systemd(tmp_path: Path) -> None:
    program = require("systemd-analyze")
    path = tmp_path / "rampd.service"
    path.write_text(UNIT.replace("/opt/rampd/bin/rampd-server", "/bin/true"))
    done = subprocess.run([program, "verify", str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert [line for line in done.stderr.splitlines() if "rampd.service" in line] == []


def test_each_figure_is_that_of_the_page_about_performance() -> None:
    table = DOCUMENT.partition("| what | measured | name |")[2].partition("\n\n")[0]
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) == 15
    performance = " ".join((DOCS / "performance.md").read_text().split())
    for what, measured, name in rows:
        assert measured in performance, what
        assert name.strip(" |`") in BENCHMARKS, what


def test_the_sums_of_the_example_are_right() -> None:
    """Each term of the memory is a product of the figures, and the sum is that of the terms."""
    example = " ".join(DOCUMENT.partition("**Memory of Redis**")[2].partition("\n\n")[0].split())
    terms = re.findall(r"((?:[\d,.]+ × )+)([\d,.]+) bytes = ([\d.]+) MB", example)
    assert len(terms) == 6
    total = 66.0
    for factors, last, shown in terms:
        numbers = [float(each.replace(",", "")) for each in (*factors.split(" × ")[:-1], last)]
        assert float(shown) == round(math.prod(numbers) / 1e6, 1), factors
        total += float(shown)
    assert f"That is {total:.0f} MB in all" in example


def test_the_alerts_that_one_may_not_leave_out_exist_and_what_wakes_somebody_is_critical() -> None:
    section = DOCUMENT.partition("## What to alert on")[2].partition("\n## ")[0]
    named = re.findall(r"^- \[(\w+)\]\(observability/runbook\.md#(\w+)\)", section, re.MULTILINE)
    rules = yaml.safe_load((DOCS / "observability" / "alerts.yaml").read_text())["groups"]
    severity = {rule["alert"]: rule["labels"]["severity"] for group in rules for rule in group["rules"]}
    assert [(alert.lower(), severity[alert] == "critical") for alert, _ in named] == [
        (anchor, place < 2) for place, (_, anchor) in enumerate(named)
    ]
    assert list(severity.values()).count("critical") == 2


def test_each_link_leads_to_a_section() -> None:
    for file, anchor in re.findall(r"\]\((?!https?:)([\w./]*)(?:#([\w-]+))?\)", DOCUMENT):
        text = (DOCS / file).read_text() if file and not (DOCS / file).is_dir() else DOCUMENT
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in titles}, (
            file,
            anchor,
        )


def test_a_token_that_is_shown_is_none() -> None:
    """Given the token of the document, expect that it does not pass its checksum: nobody can use it by mistake."""
    from rampd._contract.token import is_whole

    assert not is_whole(SHOWN_TOKEN)
    assert DOCUMENT.count(SHOWN_TOKEN) == 2
