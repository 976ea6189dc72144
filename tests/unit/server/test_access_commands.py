"""`rampd-server token …` and `access check`: what they print, and what they make of the file."""

import os
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rampd._contract.token import digest_of, is_whole, new_token
from rampd_server.access import access_file, commands
from rampd_server.access.grants import Grant
from rampd_server.access.rpc_roles import Role
from rampd_server.rpc.binding import NAMES

COMMENTED = """\
# Who may do what. Ask the platform team.

[[grant]]
name = "ops"       # the three of us
role = "admin"
tokens = [
    "sha256:{digest}",  # ada's
]

# The launchers.
[[grant]]
name = "launcher"
role = "launcher"
certificates = ["launcher.example.org"]
"""


class Typed:
    """What somebody types, and what comes of it."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = directory / "access.toml"
        self._capsys = capsys

    def __call__(self, *words: str, file: bool = True) -> tuple[int, str, str]:
        code = commands.run([*words, *(("--access-file", str(self.path)) if file else ())], names=NAMES)
        return (code, *self._capsys.readouterr())

    def create(self, *words: str) -> str:
        """The token."""
        code, out, _ = self("token", "create", *words)
        assert code == 0
        return out.rstrip("\n")

    def refused(self, *words: str, file: bool = True) -> str:
        code, out, told = self(*words, file=file)
        assert (code, out) == (2, "")
        assert told.startswith("rampd-server: ")
        return told

    def usage(self, *words: str) -> str:
        with pytest.raises(SystemExit, match=r"^2$"):
            self(*words)
        return self._capsys.readouterr().err

    def write(self, text: str = COMMENTED, digest: str = "0" * 64) -> None:
        self.path.write_text(text.replace("{digest}", digest))
        self.path.chmod(0o600)

    @property
    def grants(self) -> dict[str, Grant]:
        return {grant.name: grant for grant in access_file.read(self.path, names=NAMES).grants}


@pytest.fixture
def typed(directory: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(directory, capsys)


@pytest.fixture
def _umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("_umask")
def test_the_first_token_makes_the_file_for_its_owner_only(typed: Typed) -> None:
    code, out, told = typed("token", "create", "ci-restyler", "--role", "ci")
    token = out.rstrip("\n")
    assert (code, is_whole(token), out.count("\n")) == (0, True, 1)
    assert mode_of(typed.path) == 0o600
    assert typed.grants == {"ci-restyler": Grant("ci-restyler", Role.CI, tokens=(digest_of(token),))}
    assert told == f"This is the token of ci-restyler. It is shown once: {typed.path} has its digest only.\n"
    assert token[6:] not in typed.path.read_text()


def test_a_grant_has_components_and_an_end(typed: Typed) -> None:
    typed.create("ci", "--role", "ci", "--component", "restyler", "--component", "*-prod", "--expires", "90d")
    grant = typed.grants["ci"]
    assert grant.components == ("restyler", "*-prod")
    end = datetime.now(UTC) + timedelta(days=90)
    assert grant.expires_s == pytest.approx(end.timestamp(), abs=120)


@pytest.mark.parametrize(
    ("written", "end"),
    [
        ("2099-01-31", datetime(2099, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("2099-01-31T12:00:00Z", datetime(2099, 1, 31, 12, tzinfo=UTC)),
        ("2099-01-31T12:00:00+02:00", datetime(2099, 1, 31, 10, tzinfo=UTC)),
        ("2099-01-31T12:00:00", datetime(2099, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_an_end_is_a_date_that_ends_with_its_day_or_a_time(typed: Typed, written: str, end: datetime) -> None:
    typed.create("ci", "--role", "ci", "--expires", written)
    assert typed.grants["ci"].expires_s == end.timestamp()


@pytest.mark.parametrize("written", ["", "90", "d", "-90d", "90 d", "soon", "2099-02-31", "9999999d", "999999w"])
def test_what_is_no_end_is_refused(typed: Typed, written: str) -> None:
    assert "is not a span such as 90d or 12h, nor a date" in typed.usage(
        "token", "create", "ci", "--role", "ci", f"--expires={written}"
    )
    assert not typed.path.exists()


def test_a_second_token_is_for_rotation_and_needs_the_name_only(typed: Typed) -> None:
    first, second = typed.create("ci", "--role", "ci"), typed.create("ci")
    assert typed.grants["ci"].tokens == (digest_of(first), digest_of(second))
    typed.create("ci", "--role", "ci")
    told = typed.refused("token", "create", "ci", "--role", "admin")
    assert f"ci has a grant in {typed.path} already, with the role ci." in told
    typed.refused("token", "create", "ci", "--expires", "9d")
    typed.refused("token", "create", "ci", "--component", "a")
    assert len(typed.grants["ci"].tokens) == 3


def test_a_new_grant_needs_a_role(typed: Typed) -> None:
    assert "say what it may do with --role" in typed.refused("token", "create", "ci")
    assert not typed.path.exists()


@pytest.mark.parametrize(
    "words", [["rampd-x", "--role", "ci"], ["", "--role", "ci"], ["ci", "--role", "ci", "--component", "A"]]
)
def test_a_grant_that_could_not_be_read_is_not_written(typed: Typed, words: list[str]) -> None:
    typed.write()
    before = typed.path.read_bytes()
    assert "grant" in typed.refused("token", "create", *words)
    assert typed.path.read_bytes() == before


def test_the_words_of_others_stay_in_the_file(typed: Typed) -> None:
    typed.write()
    token = typed.create("ci", "--role", "ci")
    added = typed.path.read_text()
    assert added.startswith(COMMENTED.replace("{digest}", "0" * 64))
    typed.create("ops")
    typed("token", "revoke", "ci")
    text = typed.path.read_text()
    for comment in ("# Who may do what. Ask the platform team.", "# the three of us", "# ada's", "# The launchers."):
        assert comment in text
    assert digest_of(token) not in text
    assert list(typed.grants) == ["ops", "launcher"]


def test_mode_owner_and_link_of_a_file_stay(typed: Typed) -> None:
    real = typed.path.with_name("real.toml")
    typed.write()
    typed.path.rename(real)
    typed.path.symlink_to(real.name)
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 0, 4711)
    before = real.stat()
    typed.create("ci", "--role", "ci")
    assert typed.path.is_symlink()
    after = real.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert "ci" in typed.grants


def test_nothing_is_left_beside_the_file(typed: Typed) -> None:
    typed.create("ci", "--role", "ci")
    typed("token", "revoke", "ci")
    assert [path.name for path in typed.path.parent.iterdir()] == ["access.toml"]


def test_the_list_shows_who_has_tokens_and_none_of_them(typed: Typed) -> None:
    token = typed.create("ci", "--role", "ci", "--component", "a*", "--expires", "2099-01-31")
    typed.create("ops", "--role", "admin")
    code, out, _ = typed("token", "list")
    assert code == 0
    first, second = out.splitlines()
    assert first.split("\t") == ["ci", "ci", "a*", "2099-01-31 23:59 UTC", digest_of(token)[:19]]
    assert second.split("\t")[:4] == ["ops", "admin", "*", "never"]
    assert token[6:] not in out
    assert digest_of(token) not in out


@pytest.mark.parametrize("how", ["token", "digest", "shown"])
def test_one_token_is_revoked_by_itself_or_by_its_digest(typed: Typed, how: str) -> None:
    first, second = typed.create("ci", "--role", "ci"), typed.create("ci")
    word = {"token": first, "digest": digest_of(first), "shown": digest_of(first)[:19]}[how]
    code, out, _ = typed("token", "revoke", word)
    assert (code, out.partition(".")[0]) == (0, "Revoked 1 token")
    assert typed.grants["ci"].tokens == (digest_of(second),)


def test_all_tokens_of_an_identity_are_revoked_and_the_grant_that_nothing_proves_goes(typed: Typed) -> None:
    typed.create("ci", "--role", "ci")
    typed.create("ci")
    typed.create("ops", "--role", "admin")
    assert typed("token", "revoke", "ci")[1].startswith("Revoked 2 tokens.")
    assert list(typed.grants) == ["ops"]
    typed("token", "revoke", "ops")
    assert typed.grants == {}


def test_a_grant_that_has_another_proof_stays_without_its_token(typed: Typed) -> None:
    typed.write()
    token = typed.create("launcher")
    typed("token", "revoke", token)
    assert typed.grants["launcher"].tokens == ()
    assert typed.grants["launcher"].certificates == ("launcher.example.org",)


@pytest.mark.parametrize(
    "what", ["nobody", "sha256:", "sha256:0", "sha256:00000000000", "sha256:" + "f" * 64, "rampd_cut"]
)
def test_what_is_not_there_can_t_be_revoked(typed: Typed, what: str) -> None:
    typed.write()
    told = typed.refused("token", "revoke", what)
    assert "has no token of" in told
    assert "rampd_cut" not in told
    typed.refused("token", "revoke", new_token())


def test_a_check_says_that_a_file_can_be_used_and_what_is_too_wide(typed: Typed) -> None:
    typed.write()
    assert typed("access", "check", str(typed.path), file=False) == (
        0,
        f"{typed.path} can be used: 2 grants, 0 warnings.\n",
        "",
    )
    typed.write('[[grant]]\nname = "all"\nrole = "viewer"\neverybody = true\n')
    code, out, told = typed("access", "check", str(typed.path), file=False)
    assert (code, out) == (0, f"{typed.path} can be used: 1 grant, 1 warning.\n")
    assert told.startswith("rampd-server: warning: grant all: everybody who reaches the server is viewer")


def test_a_check_names_every_mistake(typed: Typed) -> None:
    typed.write('[[grant]]\nname = ""\nrole = "root"\n')
    told = typed.refused("access", "check", str(typed.path), file=False)
    assert [line.partition(": ")[2].partition(":")[0] for line in told.splitlines()] == ["grant number 1"] * 2


@pytest.mark.parametrize(
    "words", [["token", "create", "ci", "--role", "ci"], ["token", "list"], ["token", "revoke", "ops"]]
)
def test_a_file_that_can_t_be_used_is_not_changed(typed: Typed, words: list[str]) -> None:
    typed.write('[[grant]]\nname = "a"\n')
    before = typed.path.read_bytes()
    typed.refused(*words)
    assert typed.path.read_bytes() == before


@pytest.mark.parametrize("words", [["token", "list"], ["token", "revoke", "ops"]])
def test_a_file_that_is_not_there_is_a_sentence(typed: Typed, words: list[str]) -> None:
    assert "can't be read: No such file or directory." in typed.refused(*words)


def test_a_folder_that_is_not_there_is_a_sentence(typed: Typed) -> None:
    typed.path = typed.path.parent / "none" / "access.toml"
    assert "none can't be read: No such file or directory." in typed.refused("token", "create", "a", "--role", "ci")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(typed: Typed, mode: int) -> None:
    typed.write()
    typed.path.chmod(mode)
    told = typed.refused("access", "check", str(typed.path), file=False)
    assert told == f"rampd-server: Others than its owner may write to {typed.path}. Type chmod go-w {typed.path}\n"


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_file_that_others_may_replace_is_refused(typed: Typed, mode: int) -> None:
    typed.write()
    typed.path.parent.chmod(mode)
    assert "Others than its owner may replace files in" in typed.refused("access", "check", str(typed.path), file=False)
    typed.path.parent.chmod(0o1777)
    assert typed("access", "check", str(typed.path), file=False)[0] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_file_of_another_user_is_refused(typed: Typed, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    typed.write()
    given = typed.path if which == "file" else typed.path.parent
    os.chown(given, 4711, -1)
    assert f"{given} belongs to user " in typed.refused("access", "check", str(typed.path), file=False)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert typed("access", "check", str(typed.path), file=False)[0] == 0


def test_commands_at_once_lose_nothing(typed: Typed) -> None:
    typed.create("ci", "--role", "ci")
    threads = [
        threading.Thread(
            target=commands.run,
            args=(["token", "create", "ci", "--access-file", str(typed.path)],),
            kwargs={"names": NAMES},
        )
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(typed.grants["ci"].tokens) == 11


def test_nothing_but_the_token_is_on_standard_output(typed: Typed) -> None:
    assert typed("token", "create", "ci", "--role", "ci")[1].count("\n") == 1


@pytest.mark.parametrize("words", [["token"], ["access"], ["token", "make"], ["token", "create", "ci", "--rol", "ci"], ["token", "create", "ci", "--role", "root"]])  # fmt: skip
def test_a_wrong_command_is_told_how_to_type_it(typed: Typed, words: list[str]) -> None:
    assert "usage: rampd-server" in typed.usage(*words)
