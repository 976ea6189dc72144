"""docs/security.md says what the code does: its example, and its tables of roles, flags, settings, limits and log lines."""

import re
from pathlib import Path

from rampd_server.access import access_file
from rampd_server.access.grants import Limits
from rampd_server.access.rpc_roles import REQUEST_FLAGS, Role, roles_of
from rampd_server.page import session
from rampd_server.rpc.binding import NAMES, SERVICES

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text()


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose first line begins with `head`."""
    [table] = re.findall(rf"^\| {re.escape(head)} .*\n\| -.*\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def names(head: str) -> list[str]:
    return [first.strip("`") for first, *_ in rows(head)]


def test_the_table_of_roles_is_the_rule_of_the_server_for_every_rpc() -> None:
    methods = [method for service in SERVICES.values() for method in service.methods]
    assert {first.strip("`"): cells for first, *cells in rows("RPC")} == {
        method.name: ["yes" if role in roles_of(method) else "" for role in Role] for method in methods
    }


def test_the_table_of_flags_says_which_roles_may_set_them() -> None:
    assert {flag.strip("`"): set(re.findall(r"`([a-z]+)`", roles)) for flag, _, roles in rows("flag")} == {
        flag: {str(role) for role in roles} for flag, roles in REQUEST_FLAGS.items()
    }


def test_the_example_is_without_mistakes_and_has_every_setting() -> None:
    [example] = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    found = access_file.parse(example, names=NAMES)
    assert found.warnings == (
        "grant everybody: everybody who reaches the server has the role viewer, without any credentials.",
    )
    settings = ("setting of a grant", "setting of `[[grant.oidc]]`", "setting of `[sign_in]`")
    for setting in [each for head in settings for each in names(head)]:
        assert setting == "ca_file" or re.search(rf"^(\[\[grant\.)?{setting}\b", example, re.MULTILINE), setting
    limited = next(grant for grant in found.grants if grant.name == "launchers-eu")
    assert limited.limits == Limits(500, 2_000, 50, 5_000)


def test_the_tables_of_settings_have_each_setting_that_the_file_takes() -> None:
    assert names("setting of a grant") == list(access_file._Grant.model_fields)
    assert names("setting of `[[grant.oidc]]`") == list(access_file._Oidc.model_fields)
    assert names("setting of `[sign_in]`") == list(access_file._SignIn.model_fields)
    assert names("limit") == list(access_file._Limits.model_fields)


def test_the_table_of_limits_has_the_defaults() -> None:
    shown = {setting.strip("`"): float(default.replace(",", "")) for setting, default, _ in rows("limit")}
    assert shown == {name: getattr(Limits(), name) for name in shown}


def test_the_table_of_cookies_has_each_cookie_of_the_page() -> None:
    cookies = (session._CREDENTIAL, session._FORM, session._ATTEMPT)
    assert names("cookie") == [f"__Host-{name}" for name in cookies]


def test_each_line_of_the_log_exists() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "server").rglob("*.py"))
    for line in names("line"):
        assert f'"{line}"' in code, line


def test_each_threat_has_an_answer_in_both_columns() -> None:
    """Whatever stops a threat does not stop all of it."""
    for threat, stops, does_not in rows("threat"):
        assert stops, threat
        assert does_not, threat
