"""`rampd-server token …` and `access check`: what they print, and how they change the file."""

import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rampd._contract.token import digest_of, is_whole, new_token
from rampd_server.access import access_file, token_commands
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
    """Runs a command, and returns what it prints."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = directory / "access.toml"
        self._capsys = capsys

    def __call__(self, *words: str, file: bool = True) -> tuple[int, str, str]:
        code = token_commands.run([*words, *(("--access-file", str(self.path)) if file else ())], names=NAMES)
        return (code, *self._capsys.readouterr())

    def create(self, *words: str) -> str:
        """Makes a token and returns it."""
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
    assert told == f"This is the token of ci-restyler. It is shown once: {typed.path} has only its digest.\n"
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
def test_a_text_that_is_no_end_is_refused(typed: Typed, written: str) -> None:
    assert "is not a span such as 90d or 12h, nor a date" in typed.usage(
        "token", "create", "ci", "--role", "ci", f"--expires={written}"
    )
    assert not typed.path.exists()


@pytest.mark.parametrize("written", ["0d", "2020-01-31", "2020-01-31T12:00:00Z"])
def test_an_end_that_is_over_is_refused(typed: Typed, written: str) -> None:
    assert f"argument --expires: '{written}' is over already" in typed.usage(
        "token", "create", "ci", "--role", "ci", "--expires", written
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


def test_a_grant_is_added_after_a_last_line_without_a_line_end(typed: Typed) -> None:
    typed.write(COMMENTED.rstrip("\n"))
    typed.create("ci", "--role", "ci")
    assert list(typed.grants) == ["ops", "launcher", "ci"]


def test_a_new_grant_needs_a_role(typed: Typed) -> None:
    assert "say with --role what it may do" in typed.refused("token", "create", "ci")
    assert not typed.path.exists()


@pytest.mark.parametrize(
    "words", [["rampd-x", "--role", "ci"], ["", "--role", "ci"], ["ci", "--role", "ci", "--component", "A"]]
)
def test_a_grant_that_could_not_be_read_is_not_written(typed: Typed, words: list[str]) -> None:
    typed.write()
    before = typed.path.read_bytes()
    assert "grant" in typed.refused("token", "create", *words)
    assert typed.path.read_bytes() == before


def test_comments_and_other_grants_stay_in_the_file(typed: Typed) -> None:
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


def test_all_tokens_of_an_identity_are_revoked_and_a_grant_without_a_proof_is_removed(typed: Typed) -> None:
    typed.create("ci", "--role", "ci")
    typed.create("ci")
    typed.create("ops", "--role", "admin")
    assert typed("token", "revoke", "ci")[1].startswith("Revoked 2 tokens.")
    assert list(typed.grants) == ["ops"]
    typed("token", "revoke", "ops")
    assert typed.grants == {}
    assert typed.path.read_text() == "# A caller needs a grant here.\n"


@pytest.mark.parametrize("text", ["grant = []\n", "# ours\ngrant = []\n", "# ours"])
def test_a_file_whose_last_grant_is_gone_gets_another_one(typed: Typed, text: str) -> None:
    typed.write(text)
    typed.create("ops", "--role", "admin")
    typed("token", "revoke", "ops")
    assert typed.grants == {}
    typed.create("ops", "--role", "admin")
    assert list(typed.grants) == ["ops"]
    assert typed.path.read_text().startswith("# ours" if "ours" in text else "#")


def test_an_empty_file_gets_its_first_grant_and_keeps_its_mode(typed: Typed) -> None:
    typed.write("")
    typed.path.chmod(0o640)
    assert "It is empty." in typed.refused("access", "check", str(typed.path), file=False)
    typed.create("ops", "--role", "admin")
    assert (list(typed.grants), mode_of(typed.path)) == (["ops"], 0o640)


ENDED = '[[grant]]\nname = "ci"\nrole = "ci"\nexpires = 2020-01-31\ntokens = ["sha256:{digest}"]\n'


def test_a_grant_that_has_ended_is_told_and_gets_no_other_token(typed: Typed) -> None:
    typed.write(ENDED)
    before = typed.path.read_bytes()
    assert typed("token", "list")[1] == "ci\tci\t*\t2020-01-31 23:59 UTC (ended)\tsha256:000000000000\n"
    code, out, told = typed("access", "check", str(typed.path), file=False)
    assert (code, out) == (0, f"{typed.path} can be used: 1 grant, 1 warning.\n")
    assert told == (
        "rampd-server: warning: grant ci: it ended at 2020-01-31 23:59 UTC, so nobody gets in by it. Change `expires`, or take "
        "the grant out.\n"
    )
    told = typed.refused("token", "create", "ci")
    assert told.startswith(
        f"rampd-server: The grant of ci in {typed.path} ended at 2020-01-31 23:59 UTC, so another token"
    )
    assert "Change `expires`" in told
    assert typed.path.read_bytes() == before
    typed.write(ENDED.replace("2020", "2999"))
    typed.create("ci")
    assert "(ended)" not in typed("token", "list")[1]
    assert typed("access", "check", str(typed.path), file=False)[2] == ""


def test_a_grant_that_has_another_proof_stays_without_its_token(typed: Typed) -> None:
    typed.write()
    token = typed.create("launcher")
    typed("token", "revoke", token)
    assert typed.grants["launcher"].tokens == ()
    assert typed.grants["launcher"].certificates == ("launcher.example.org",)


@pytest.mark.parametrize(
    "what", ["nobody", "sha256:", "sha256:0", "sha256:00000000000", "sha256:" + "f" * 64, "rampd_cut"]
)
def test_a_token_that_is_not_in_the_file_can_t_be_revoked(typed: Typed, what: str) -> None:
    typed.write()
    told = typed.refused("token", "revoke", what)
    assert "has no token for" in told
    assert f"`rampd-server token list --access-file {typed.path}`" in told
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
    assert told.startswith("rampd-server: warning: grant all: everybody who reaches the server has the role viewer")


PEOPLE = """
# Where people have accounts.
[sign_in]
issuer = "https://accounts.example.com"
client_id = "rampd-page"
client_secret_file = "{secret}"

[[grant]]
name = "ada"
role = "operator"

[[grant.oidc]]
issuer = "https://accounts.example.com"
audience = "rampd-page"
claims = {{ sub = "1" }}
"""


def test_a_check_says_why_nobody_can_sign_in_with_an_account_and_who_reads_the_secret(typed: Typed) -> None:
    secret = typed.path.with_name("secret")
    typed.write(PEOPLE.format(secret=secret))

    def told() -> str:
        code, _, said = typed("access", "check", str(typed.path), file=False)
        assert code == 0
        return said.removeprefix("rampd-server: warning: sign_in: client_secret_file: ")

    assert told() == f"{secret} can't be used: No such file or directory. So nobody can sign in with this issuer.\n"
    secret.write_text("a b")
    assert told().startswith(f"{secret} can't be used: it has to have one word")
    secret.write_text("abc\n")
    secret.chmod(0o644)
    assert told() == f"every user of this machine may read {secret}. Type chmod o-r {secret}\n"
    secret.chmod(0o640)
    assert told() == ""


def test_the_issuer_of_people_stays_in_the_file_while_tokens_come_and_go(typed: Typed) -> None:
    typed.write(PEOPLE.format(secret="/etc/rampd/secret"))
    before = typed.path.read_text()
    typed.create("ci", "--role", "ci")
    typed.create("ada")
    assert access_file.read(typed.path, names=NAMES).sign_in is not None
    for name in ("ci", "ada"):
        typed("token", "revoke", name)
    assert list(typed.grants) == ["ada"]
    assert typed.path.read_text().startswith(before.partition("[[grant.oidc]]")[0].rstrip())
    assert access_file.read(typed.path, names=NAMES).sign_in is not None


def test_a_check_names_every_mistake(typed: Typed) -> None:
    typed.write('[[grant]]\nname = ""\nrole = "root"\n')
    told = typed.refused("access", "check", str(typed.path), file=False)
    assert [line.partition(": ")[2].partition(":")[0] for line in told.splitlines()] == ["grant number 1"] * 3


@pytest.mark.parametrize(
    "words", [["token", "create", "ci", "--role", "ci"], ["token", "list"], ["token", "revoke", "ops"]]
)
def test_a_file_that_can_t_be_used_is_not_changed(typed: Typed, words: list[str]) -> None:
    typed.write('[[grant]]\nname = "a"\n')
    before = typed.path.read_bytes()
    typed.refused(*words)
    assert typed.path.read_bytes() == before


@pytest.mark.parametrize("words", [["token", "list"], ["token", "revoke", "ops"]])
def test_a_missing_file_gives_a_sentence(typed: Typed, words: list[str]) -> None:
    assert "can't be read: No such file or directory." in typed.refused(*words)


def test_a_missing_folder_gives_a_sentence(typed: Typed) -> None:
    typed.path = typed.path.parent / "none" / "access.toml"
    assert "none can't be read: No such file or directory." in typed.refused("token", "create", "a", "--role", "ci")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(typed: Typed, mode: int) -> None:
    typed.write()
    typed.path.chmod(mode)
    told = typed.refused("access", "check", str(typed.path), file=False)
    assert told == f"rampd-server: Users other than its owner may write to {typed.path}. Type chmod go-w {typed.path}\n"


def test_a_check_names_what_others_may_and_every_mistake_of_the_content(typed: Typed) -> None:
    typed.write('[[grant]]\nname = ""\nrole = "root"\neverybody = true\n')
    typed.path.chmod(0o620)
    typed.path.parent.chmod(0o720)
    told = typed.refused("access", "check", str(typed.path), file=False).splitlines()
    assert [line.removeprefix("rampd-server: ")[:33] for line in told] == [
        "Users other than its owner may wr",
        "Users other than its owner may re",
        "grant number 1: name: is required",
        "grant number 1: role: 'root' is n",
    ]


def test_a_file_that_is_not_there_is_named_once(typed: Typed) -> None:
    told = typed.refused("access", "check", str(typed.path), file=False)
    assert told == f"rampd-server: {typed.path} can't be read: No such file or directory.\n"


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_file_that_others_may_replace_is_refused(typed: Typed, mode: int) -> None:
    typed.write()
    typed.path.parent.chmod(mode)
    assert "Users other than its owner may replace files in" in typed.refused(
        "access", "check", str(typed.path), file=False
    )
    typed.path.parent.chmod(0o1777)
    assert typed("access", "check", str(typed.path), file=False)[0] == 0


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_link_to_a_folder_in_which_others_may_replace_files_is_refused(typed: Typed, mode: int) -> None:
    """Given a link to a link, expect a refusal if others could replace files in any of the folders."""
    typed.write()
    places = [typed.path.parent / name for name in ("one", "two")]
    for place in places:
        place.mkdir()
    typed.path.rename(places[1] / "b.toml")
    (places[0] / "a.toml").symlink_to(places[1] / "b.toml")
    typed.path.symlink_to(Path("one") / "a.toml")
    assert typed("access", "check", str(typed.path), file=False)[0] == 0
    for place in places:
        place.chmod(mode)
        told = typed.refused("access", "check", str(typed.path), file=False)
        assert f"may replace files in {place}." in told
        place.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_file_of_another_user_is_refused(typed: Typed, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    typed.write()
    given = typed.path if which == "file" else typed.path.parent
    os.chown(given, 4711, -1)
    told = "Type chown root" if which == "file" else "Put the file into a folder of root."
    refused = typed.refused("access", "check", str(typed.path), file=False)
    assert f"{given} belongs to user " in refused
    assert told in refused
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert typed("access", "check", str(typed.path), file=False)[0] == 0


def test_commands_at_once_lose_nothing(typed: Typed) -> None:
    typed.create("ci", "--role", "ci")
    threads = [
        threading.Thread(
            target=token_commands.run,
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


def test_a_command_that_names_a_link_waits_for_one_that_names_the_file(typed: Typed) -> None:
    """Given a command that changes the file, expect that a command that names a link in another folder waits for it."""
    typed.create("ci", "--role", "ci")
    (typed.path.parent / "links").mkdir()
    link = typed.path.parent / "links" / "access.toml"
    link.symlink_to(typed.path)
    words = ["token", "create", "ci", "--access-file", str(link)]
    command = threading.Thread(target=token_commands.run, args=(words,), kwargs={"names": NAMES})
    folder = os.open(typed.path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    command.start()
    command.join(0.3)
    assert len(typed.grants["ci"].tokens) == 1
    os.close(folder)
    command.join()
    assert len(typed.grants["ci"].tokens) == 2


def test_nothing_but_the_token_is_on_standard_output(typed: Typed) -> None:
    assert typed("token", "create", "ci", "--role", "ci")[1].count("\n") == 1


@pytest.mark.parametrize("words", [["token"], ["access"], ["token", "make"], ["token", "create", "ci", "--rol", "ci"], ["token", "create", "ci", "--role", "root"]])  # fmt: skip
def test_a_wrong_command_gives_the_usage(typed: Typed, words: list[str]) -> None:
    assert "usage: rampd-server" in typed.usage(*words)
