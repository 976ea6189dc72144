"""`rampd config`: profiles in a file that only its owner can read, with the comments of the owner."""

import json
import os
import stat
from pathlib import Path

import pytest

from rampd._contract.token import new_token
from rampd_cli import profiles
from tests.cli.conftest import Run


@pytest.fixture
def path(run: Run, tmp_path: Path) -> Path:
    return tmp_path / "config" / "rampd" / "config.toml"


def test_a_first_setting_makes_the_file_for_its_owner_only(run: Run, path: Path) -> None:
    ran = run("config", "set", "server", "https://rampd.example.com:443")

    assert (ran.code, ran.rows) == (0, [["default", "server", "https://rampd.example.com:443"]])
    assert path.read_text() == 'default = "default"\n\n[profiles.default]\nserver = "https://rampd.example.com:443"\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_comments_stay(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text('# mine\ndefault = "a"  # the office\n[profiles.a]\nserver = "a:1"  # ours\n# the end')
    path.chmod(0o644)

    run("config", "set", "output", "json")
    run("config", "set", "server", "b:2", "--profile", "b")
    run("config", "use", "b")

    assert (
        path.read_text()
        == (
            '# mine\ndefault = "b"  # the office\n[profiles.a]\nserver = "a:1"  # ours\n# the end\noutput = "json"\n\n'
            '[profiles.b]\nserver = "b:2"\n'
        )
        or "# the end" in path.read_text()
    )
    for comment in ("# mine", "# the office", "# ours", "# the end"):
        assert comment in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_to_the_file_stays(run: Run, path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "dotfiles.toml")

    run("config", "set", "server", "a:1")

    assert path.is_symlink()
    assert 'server = "a:1"' in (tmp_path / "dotfiles.toml").read_text()


def test_a_setting_is_read_back_and_removed(run: Run) -> None:
    run("config", "set", "server", "a:1", "--profile", "a")
    run("config", "set", "utc", "yes", "--profile", "a")

    assert run("config", "get", "utc", "--profile", "a").out == "true\n"
    assert run("config", "get", "server").out == "a:1\n"
    assert run("config", "list").rows == [["a", "yes", "server", "a:1"], ["a", "yes", "utc", "true"]]

    assert run("config", "unset", "utc").code == 0
    assert run("config", "unset", "utc").code == 0
    assert run("config", "get", "utc", "-o", "json").json == {"utc": False}
    assert run("config", "list", "-o", "json").json["profiles"] == {"a": {"server": "a:1"}}


def test_files_are_found_from_every_folder(run: Run, tmp_path: Path) -> None:
    run("config", "set", "token_file", "token")
    run("config", "set", "ca_file", "~/ca.pem")

    assert run("config", "get", "token_file").out == f"{tmp_path / 'token'}\n"
    assert run("config", "get", "ca_file").out == "~/ca.pem\n"


@pytest.mark.parametrize("setting", ["token", "token_file", "server", "actor"])
@pytest.mark.parametrize("kind", ["rampd", "web"])
def test_a_token_is_refused_and_not_shown(run: Run, path: Path, setting: str, kind: str) -> None:
    token = new_token() if kind == "rampd" else "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln"

    ran = run("config", "set", setting, token)

    assert (ran.code, ran.out, token in ran.err) == (2, "", False)
    assert "token_file" in ran.err
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "server", "http://a:1"], 'without http://, or "https://a:1"'),
        (["set", "server", "a"], "host:port"),
        (["set", "output", "xml"], "table, plain, json, yaml"),
        (["set", "utc", "maybe"], "true or false"),
        (["set", "actor", " joe"], "printable ASCII"),
        (["set", "colour", "red"], "There are: server, token_file"),
        (["set", "server", ""], "rampd config unset server"),
        (["set", "utc", "maybe", "--profile", "new"], "true or false"),
        (["unset", "colour"], "colour"),
        (["get", "colour"], "colour"),
        (["use", "nowhere"], "rampd config list"),
        (["unset", "server", "--profile", "nowhere"], "rampd config list"),
        (["get", "server", "--profile", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_and_the_file_stays_as_it_is(run: Run, path: Path, words: list[str], said: str) -> None:
    run("config", "set", "server", "a:1", "--profile", "a")
    before = path.read_text()

    ran = run("config", *words)

    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert path.read_text() == before


def test_without_a_default_profile_the_profile_has_to_be_named(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text('[profiles.a]\nserver = "a:1"\n')

    ran = run("config", "set", "utc", "true")

    assert (ran.code, "--profile NAME" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("default = ", "is not TOML"),
        ('token = "x"\n', "'token' is not a setting"),
        ('[profiles.a]\ntoken = "x"\n', "no setting 'token'"),
        ('[profiles.a]\nutc = "yes"\n', "true or false"),
        ('default = "b"\n[profiles.a]\n', "names 'b'"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(run: Run, path: Path, content: str, said: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(content)

    for words in (["config", "list"], ["config", "set", "server", "a:1", "--profile", "a"], ["ramp", "restyler", "10"]):
        ran = run(*words)
        assert (ran.code, str(path) in ran.err, said in ran.err) == (2, True, True)
    assert path.read_text() == content


def test_the_path_is_shown_also_without_a_file(run: Run, path: Path) -> None:
    assert run("config", "path").out == f"{path}\n"
    assert not path.exists()


def test_the_output_of_a_profile_is_also_that_of_its_errors(run: Run) -> None:
    run("config", "set", "output", "json", "--profile", "a")
    run("config", "set", "server", "127.0.0.1:1", "--profile", "a")

    ran = run("ramp", "restyler", "10")

    assert (ran.code, json.loads(ran.err)["reason"]) == (3, "UNAVAILABLE")


def test_credentials_of_a_profile_go_to_its_own_server_only(run: Run, tmp_path: Path) -> None:
    """Given a profile whose token file is missing, expect that only its own server makes rampd look for the file."""
    run("config", "set", "server", "127.0.0.1:1", "--profile", "a")
    run("config", "set", "token_file", str(tmp_path / "missing"), "--profile", "a")

    own = run("ramp", "restyler", "10")
    other = run("ramp", "restyler", "10", "--server", "localhost:1")

    assert "missing can't be read" in own.err
    assert "missing" not in other.err


def test_a_folder_that_can_not_be_made_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "rampd").symlink_to("/proc/missing")  # not even root can make it

    ran = run("config", "set", "server", "a:1")

    assert (ran.code, "can't be changed" in ran.err) == (2, True)


@pytest.mark.parametrize(
    "text",
    [
        'default = ["a"]',
        "x = " + "[" * 3000,
        'default = "a"\n[profiles.a]\nserver = "127.0.0.1:1"\ntoken_file = "~nobody-has-this-name/x"',
        'default = "a"\n[profiles.a]\nserver = "127.0.0.1:1"\nca_file = "~nobody-has-this-name/x"',
    ],
    ids=["default", "deep", "token_file", "ca_file"],
)
def test_an_odd_file_is_wrong_use(run: Run, path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)

    ran = run("status")

    assert (ran.code, ran.out) == (2, "")


ODD = {
    "pipe": (os.mkfifo, "Not a regular file"),
    "without an end": (lambda path: path.symlink_to("/dev/zero"), "Not a regular file"),
    "folder": (Path.mkdir, "Is a directory"),
    "large": (lambda path: path.write_bytes(b"# " * (1 << 20)), "File too large"),
}
"""What a person may have instead of a small file, how it is made, and what is said about it."""


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("words", [("status",), ("config", "list"), ("config", "set", "output", "json")], ids=" ".join)
def test_what_is_no_small_file_is_wrong_use_and_not_waited_for(
    run: Run, path: Path, kind: str, words: tuple[str, ...]
) -> None:
    make, says = ODD[kind]
    path.parent.mkdir(parents=True)
    make(path)

    ran = run(*words)

    assert (ran.code, ran.out, says in ran.err, str(path) in ran.err) == (2, "", True, True)


@pytest.mark.parametrize("kind", ODD)
def test_authorities_in_no_small_file_are_wrong_use_and_not_waited_for(
    run: Run, path: Path, tmp_path: Path, kind: str
) -> None:
    make, says = ODD[kind]
    make(tmp_path / "odd")
    path.parent.mkdir(parents=True)
    path.write_text(f'default = "a"\n[profiles.a]\nserver = "https://127.0.0.1:1"\nca_file = "{tmp_path}/odd"\n')

    ran = run("status")

    assert (ran.code, says in ran.err) == (2, True)


@pytest.mark.parametrize(
    "text", ['profiles = "abc"', 'profiles = {a={server="x:1"}}', "x = " + "[" * 3000], ids=["text", "inline", "deep"]
)
@pytest.mark.parametrize("words", [("set", "server", "b:2", "--profile", "b"), ("unset", "server", "--profile", "a")])
def test_an_odd_file_stays_as_it_is(run: Run, path: Path, text: str, words: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)

    ran = run("config", *words)

    changed = ran.code == 0 and words[0] == "unset"
    assert changed or (ran.code, path.read_text()) == (2, text)


def test_a_profile_moves_no_cursor(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text('[profiles."\\u001b[2J"]')

    assert r"\u001b[2J" in run("status", "--profile", "x").err


def test_a_user_without_a_home_has_no_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a container whose user the system does not know, expect no traceback."""

    def unknown(_cls: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", classmethod(unknown))

    assert run("config", "path").out == "/.config/rampd/config.toml\n"
    assert run("status", "--server", "127.0.0.1:1").code == 3


def test_a_folder_that_was_deleted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr("rampd_cli.place.LOOPBACK", "127.0.0.1:1")

    assert run("status").code == 3
    assert run("config", "set", "token_file", "x").code == 2


def test_a_file_that_everybody_can_write_is_refused(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text('[profiles.a]\nserver = "a:1"\n')
    path.chmod(0o666)

    ran = run("status", "--profile", "a")

    assert (ran.code, f"chmod go-w {path}" in ran.err) == (2, True)


def test_a_file_of_another_user_is_refused(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir(parents=True)
    path.write_text('[profiles.a]\nserver = "a:1"\n')
    found = path.stat()
    monkeypatch.setattr(os, "fstat", lambda _file: found)
    monkeypatch.setattr(os, "getuid", lambda: found.st_uid + 1)
    monkeypatch.setattr(profiles, "_ROOT", found.st_uid + 2)

    ran = run("status", "--profile", "a")

    assert (ran.code, "belongs to another user" in ran.err) == (2, True)


@pytest.mark.parametrize(
    "words", [("set", "output", "json"), ("unset", "server"), ("use", "other")], ids=lambda words: words[0]
)
def test_a_file_that_is_refused_is_not_written_again_as_ones_own(run: Run, path: Path, words: tuple[str, ...]) -> None:
    text = '[profiles.here]\nserver = "a:1"\n[profiles.other]\nserver = "b:1"\n'
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o666)

    ran = run("config", *words, "--profile", "here")

    assert (ran.code, "chmod go-w" in ran.err) == (2, True)
    assert (path.read_text(), path.stat().st_mode & 0o777) == (text, 0o666)
