"""The configuration of the server from flags and variables."""

import grp
import os
import re
from pathlib import Path

import pytest

from rampd_server.process.address import Address
from rampd_server.process.config import (
    MAX_METRICS_COMPONENTS,
    Command,
    Config,
    LogFormat,
    LogLevel,
    fast_has_tls,
    http_has_tls,
    read,
    tls_of,
)
from rampd_server.process.startup import StartupError
from rampd_server.storage.limits import MAX_COMPONENTS


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [name for name in os.environ if name.upper().startswith("RAMPD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def config(*arguments: str) -> Config:
    return read(arguments)[1]


def mistakes(*arguments: str) -> list[str]:
    with pytest.raises(StartupError) as caught:
        read(arguments)
    *found, hint = caught.value.sentences
    assert hint == "rampd-server --help lists the flags."
    return found


def test_the_defaults_apply_without_flags_and_variables():
    assert read([]) == (
        Command.SERVE,
        Config.model_construct(
            redis_url=None,
            data_dir=Path("/home/ada/.local/state/rampd"),
            listen=(Address("127.0.0.1", 50051),),
            tls_cert=None,
            tls_key=None,
            tls_client_ca=None,
            insecure_plaintext=False,
            access_file=None,
            http=None,
            fast_listen=None,
            metrics_components=1_000,
            socket=Path("/home/ada/.local/state/rampd/rampd.sock"),
            socket_mode=0o600,
            socket_group=None,
            launcher_socket=None,
            insecure_admin=False,
            reflection=True,
            wait_for_store=True,
            namespace="default",
            prometheus_url=None,
            prometheus_timeout=5.0,
            prometheus_token_file=None,
            prometheus_header=None,
            log_format=LogFormat.AUTO,
            log_level=LogLevel.INFO,
            access_log=False,
        ),
        frozenset(),
    )


def test_the_state_directory_of_the_desktop_is_used(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert config().data_dir == Path("/var/state/rampd")


def test_a_relative_state_directory_is_ignored_as_the_standard_says(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert config().data_dir == Path("/home/ada/.local/state/rampd")


def test_the_socket_is_in_the_data_directory_unless_it_is_named():
    assert config("--data-dir", "/srv/rampd").socket == Path("/srv/rampd/rampd.sock")
    assert config("--data-dir", "/srv/rampd", "--socket", "/run/r.sock").socket == Path("/run/r.sock")


def test_paths_become_absolute_and_may_start_with_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert config("--data-dir", ".rampd").data_dir == tmp_path / ".rampd"
    assert config("--data-dir", "~/rampd").data_dir == Path("/home/ada/rampd")


@pytest.mark.parametrize(("words", "command"), [([], "serve"), *[([word], word) for word in Command]])
def test_the_command_stands_before_or_after_the_flags(words, command):
    flags = ["--namespace", "blue", "--insecure-admin", "--data-dir", "/d"]
    assert read([*words, *flags]) == read([*flags, *words])
    assert read([*words, *flags])[0] == command


def test_a_flag_overrules_its_variable(monkeypatch):
    monkeypatch.setenv("RAMPD_NAMESPACE", "blue")
    assert config().namespace == "blue"
    assert config("--namespace", "green").namespace == "green"


def test_every_field_has_a_flag_and_a_variable(monkeypatch):
    values = {
        "redis_url": "redis://h:1/2",
        "data_dir": "/d",
        "listen": "[::1]:0",
        "tls_cert": "/c",
        "tls_key": "/k",
        "tls_client_ca": "/ca",
        "insecure_plaintext": "1",
        "access_file": "/a",
        "http": "https://localhost:8080",
        "fast_listen": "localhost:50052",
        "metrics_components": "10000",
        "socket": "/s",
        "socket_mode": "660",
        "socket_group": "0",
        "launcher_socket": "/l",
        "insecure_admin": "false",
        "workers": "3",
        "reflection": "no",
        "wait_for_store": "0",
        "wait_replicas": "9",
        "namespace": "n",
        "prometheus_url": "https://p:1/path",
        "prometheus_timeout": "2.5",
        "prometheus_token_file": "/t",
        "prometheus_header": "X-Scope-OrgID: team",
        "log_format": "json",
        "log_level": "debug",
        "access_log": "on",
    }
    assert values.keys() == Config.model_fields.keys()
    for name, value in values.items():
        monkeypatch.setenv(f"RAMPD_{name.upper()}", value)
    from_variables = config()
    for name in values:
        monkeypatch.delenv(f"RAMPD_{name.upper()}")
    switches = {
        "access_log": "--access-log",
        "insecure_admin": "--no-insecure-admin",
        "insecure_plaintext": "--insecure-plaintext",
        "reflection": "--no-reflection",
        "wait_for_store": "--no-wait-for-store",
    }
    flags = [
        word
        for name, value in values.items()
        for word in ([switches[name]] if name in switches else [f"--{name.replace('_', '-')}", value])
    ]
    assert config(*flags) == from_variables
    assert from_variables.listen == (Address("::1", 0),)
    assert from_variables.insecure_plaintext
    assert not from_variables.wait_for_store


@pytest.mark.parametrize("name", Config.model_fields)
def test_an_empty_variable_is_refused_as_an_empty_flag_is(monkeypatch, name):
    flag = f"--{name.replace('_', '-')}"
    expected = f"{flag} (RAMPD_{name.upper()}): it is empty: give a value, or leave it out."
    if not isinstance(Config.model_fields[name].default, bool):
        assert mistakes(f"{flag}=") == [expected]
    monkeypatch.setenv(f"RAMPD_{name.upper()}", "")
    assert mistakes() == [expected]


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("RAMPD_REDIS_URI", "There is no variable RAMPD_REDIS_URI; did you mean RAMPD_REDIS_URL?"),
        ("RAMPD_REDISURL", "There is no variable RAMPD_REDISURL; did you mean RAMPD_REDIS_URL?"),
        ("RAMPD_LISTEN_", "There is no variable RAMPD_LISTEN_; did you mean RAMPD_LISTEN?"),
        ("rampd_data_dri", "There is no variable rampd_data_dri; did you mean RAMPD_DATA_DIR?"),
        ("RAMPD_NO_REFLECTION", "There is no variable RAMPD_NO_REFLECTION; did you mean RAMPD_REFLECTION?"),
        ("RAMPD_PORT", "There is no variable RAMPD_PORT."),
        ("RAMPD_", "There is no variable RAMPD_."),
    ],
)
def test_an_unknown_variable_is_refused_and_its_value_is_not_shown(monkeypatch, variable, sentence):
    monkeypatch.setenv(variable, "redis://u:pw@h")
    assert mistakes() == [sentence]


def test_the_name_of_a_variable_may_be_in_lower_case(monkeypatch):
    monkeypatch.setenv("rampd_namespace", "blue")
    assert config().namespace == "blue"


@pytest.mark.parametrize("name", ["SERVER", "TOKEN", "TOKEN_FILE", "CA_FILE", "CERT_FILE", "KEY_FILE", "NIGHTLY"])
def test_the_server_ignores_variables_of_clients_and_tests(monkeypatch, name):
    monkeypatch.setenv(f"RAMPD_{name}", "")
    assert config() == Config()


@pytest.mark.parametrize("service", ["RAMPD", "RAMPD_SERVER", "RAMPD_REDIS", "RAMPD_REDIS_2"])
def test_a_server_starts_with_the_service_variables_that_kubernetes_sets(monkeypatch, service):
    url = "tcp://10.3.240.11:50051"
    port = f"{service}_PORT_50051_TCP"
    variables = {
        f"{service}_SERVICE_HOST": "10.3.240.11",
        f"{service}_SERVICE_PORT": "50051",
        f"{service}_SERVICE_PORT_GRPC": "50051",
        f"{service}_PORT": url,
        port: url,
        f"{port}_PROTO": "tcp",
        f"{port}_PORT": "50051",
        f"{port}_ADDR": "10.3.240.11",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert config() == Config()


def test_a_port_variable_that_is_not_from_kubernetes_is_refused(monkeypatch):
    monkeypatch.setenv("RAMPD_PORT", "6000")
    assert mistakes() == ["There is no variable RAMPD_PORT."]


@pytest.mark.parametrize("command", [Command.ADOPT, Command.EXPORT, Command.IMPORT, Command.UPGRADE])
def test_every_other_command_requires_the_store_to_be_named(monkeypatch, command):
    [sentence] = mistakes(command, "--namespace", "blue")
    assert sentence.startswith(
        f"{command} needs to know which store: give --redis-url (RAMPD_REDIS_URL), or --data-dir ("
    )
    for name, value in (("redis_url", "redis://h"), ("data_dir", "/d")):
        assert read([command, f"--{name.replace('_', '-')}", value])[0] is command
        monkeypatch.setenv(f"RAMPD_{name.upper()}", value)
        assert read([command])[0] is command
        monkeypatch.delenv(f"RAMPD_{name.upper()}")


def test_the_options_of_a_command_are_no_settings():
    assert read(["export", "--data-dir", "/d", "--history"])[1:] == (config("--data-dir", "/d"), {"history"})
    assert read(["import", "--yes", "--data-dir", "/d", "--merge"])[2] == {"merge", "yes"}
    assert read(["upgrade", "--force", "--data-dir", "/d"])[2] == {"force"}
    assert read(["import", "--data-dir", "/d"])[2] == frozenset()


@pytest.mark.parametrize("text", ["127.0.0.1:50051", "127.8.9.1:1", "[::1]:0", "localhost:65535"])
def test_loopback_addresses_are_accepted_and_shown_as_they_were_given(text):
    [address] = config("--listen", text).listen
    assert str(address) == text


BEYOND = ["0.0.0.0:50051", "[::]:50051", "10.0.0.1:1", "example.org:1"]
TLS = ("--tls-cert", "/c", "--tls-key", "/k")
ACCESS = ("--access-file", "/a")


@pytest.mark.parametrize("text", BEYOND)
def test_an_address_beyond_the_loopback_needs_tls_and_an_access_file(text):
    without_tls, without_file = mistakes("--listen", text)
    assert without_tls.startswith(f"--listen (RAMPD_LISTEN): {text} needs TLS: give --tls-cert (RAMPD_TLS_CERT)")
    assert "--insecure-plaintext (RAMPD_INSECURE_PLAINTEXT)" in without_tls
    assert without_file.startswith(f"--listen (RAMPD_LISTEN): {text} is beyond the loopback")
    assert "--access-file (RAMPD_ACCESS_FILE)" in without_file
    assert mistakes("--listen", text, *TLS) == [without_file]
    assert mistakes("--listen", text, *ACCESS) == [without_tls]
    assert mistakes("--listen", text, "--insecure-plaintext") == [without_file]
    assert tls_of(config("--listen", text, *TLS, *ACCESS)) == (True,)
    assert tls_of(config("--listen", text, "--insecure-plaintext", *ACCESS)) == (False,)


def test_plain_text_that_is_asked_for_beyond_the_loopback_needs_the_switch_too():
    [sentence] = mistakes("--listen", "http://10.0.0.1:1", *TLS, *ACCESS)
    assert sentence.startswith("--listen (RAMPD_LISTEN): 10.0.0.1:1 is beyond the loopback, and http:// is plain text")
    assert tls_of(config("--listen", "http://10.0.0.1:1", "--insecure-plaintext", *TLS, *ACCESS)) == (False,)


@pytest.mark.parametrize(
    ("addresses", "has_tls"),
    [
        (["127.0.0.1:1"], [True]),
        (["http://127.0.0.1:1"], [False]),
        (["127.0.0.1:1", "10.0.0.1:1"], [False, True]),
        (["https://127.0.0.1:1", "10.0.0.1:1"], [True, True]),
        (["127.0.0.1:1", "http://[::1]:2", "localhost:3"], [True, False, True]),
    ],
)
def test_with_a_certificate_what_is_plain_is_said_or_is_beside_an_address_of_the_network(addresses, has_tls):
    flags = [word for address in addresses for word in ("--listen", address)]
    assert list(tls_of(config(*flags, *TLS, *ACCESS))) == has_tls


@pytest.mark.parametrize(
    ("flags", "has_tls"),
    [
        (["--http", "127.0.0.1:1"], False),
        (["--http", "127.0.0.1:1", *TLS], True),
        (["--http", "http://127.0.0.1:1", *TLS], False),
        (["--http", "10.0.0.1:1", *TLS, *ACCESS], True),
        (["--http", "127.0.0.1:1", "--listen", "10.0.0.1:1", *TLS, *ACCESS], False),
        (["--http", "https://127.0.0.1:1", "--listen", "10.0.0.1:1", *TLS, *ACCESS], True),
        (["--http", "10.0.0.1:1", "--insecure-plaintext", *ACCESS], False),
    ],
)
def test_http_has_tls_by_the_rules_of_the_other_addresses(flags, has_tls):
    assert http_has_tls(config(*flags)) is has_tls


def test_an_address_of_http_beyond_the_loopback_makes_that_of_grpc_on_it_plain():
    made = config("--http", "10.0.0.1:1", *TLS, *ACCESS)
    assert (tls_of(made), http_has_tls(made)) == ((False,), True)


def test_http_beyond_the_loopback_needs_tls_and_an_access_file():
    without_tls, without_file = mistakes("--http", "0.0.0.0:8080")
    assert without_tls.startswith("--http (RAMPD_HTTP): 0.0.0.0:8080 needs TLS: give --tls-cert (RAMPD_TLS_CERT)")
    assert without_file.startswith("--http (RAMPD_HTTP): 0.0.0.0:8080 is beyond the loopback")
    [plain] = mistakes("--http", "http://10.0.0.1:1", *TLS, *ACCESS)
    assert plain.startswith("--http (RAMPD_HTTP): 10.0.0.1:1 is beyond the loopback, and http:// is plain text")


def test_http_has_a_port_of_its_own():
    [sentence] = mistakes("--http", "127.0.0.1:50051")
    assert sentence == (
        "--http (RAMPD_HTTP): 127.0.0.1:50051 is an address of --listen (RAMPD_LISTEN): give it a port of its own."
    )
    assert config("--http", "127.0.0.1:0", "--listen", "127.0.0.1:0").http == Address("127.0.0.1", 0)
    assert mistakes("--http", "8080") == [
        "--http (RAMPD_HTTP): '8080' is not host:port, such as 127.0.0.1:50051 or [::1]:0."
    ]


def test_the_fast_listener_has_a_port_of_its_own_and_the_rules_of_the_other_addresses():
    for other in (("--listen", "127.0.0.1:1"), ("--http", "127.0.0.1:1")):
        [sentence] = mistakes("--fast-listen", "127.0.0.1:1", *other)
        assert sentence == (
            f"--fast-listen (RAMPD_FAST_LISTEN): 127.0.0.1:1 is an address of {other[0]} (RAMPD_{other[0][2:].upper()}): "
            "give it a port of its own."
        )
    without_tls, without_file = mistakes("--fast-listen", "10.0.0.1:1")
    assert without_tls.startswith("--fast-listen (RAMPD_FAST_LISTEN): 10.0.0.1:1 needs TLS")
    assert without_file.startswith("--fast-listen (RAMPD_FAST_LISTEN): 10.0.0.1:1 is beyond the loopback")
    assert fast_has_tls(config("--fast-listen", "127.0.0.1:1", *TLS))
    assert not fast_has_tls(config("--fast-listen", "127.0.0.1:1"))
    made = config("--fast-listen", "10.0.0.1:1", *TLS, *ACCESS)
    assert (tls_of(made), fast_has_tls(made)) == ((False,), True)


def test_several_addresses_are_given_one_by_one_or_with_spaces_between(monkeypatch):
    made = config("--listen", "127.0.0.1:1", "--listen", "[::1]:0", "--listen", "[::1]:0").listen
    assert made == (Address("127.0.0.1", 1), Address("::1", 0), Address("::1", 0))
    monkeypatch.setenv("RAMPD_LISTEN", "127.0.0.1:1 [::1]:0\n[::1]:0 ")
    assert config().listen == made
    [sentence] = mistakes("--listen", "127.0.0.1:1", "--listen", "http://127.0.0.1:1")
    assert sentence == "--listen (RAMPD_LISTEN): 127.0.0.1:1 is given twice."


@pytest.mark.parametrize("text", [":50051", "https://:1"])
def test_an_address_without_a_host_is_told_how_to_say_every_one(text):
    [sentence] = mistakes("--listen", text)
    assert sentence.startswith(f"--listen (RAMPD_LISTEN): {text!r} has no host; 0.0.0.0 is every IPv4 address")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--tls-cert", "/c"], "--tls-cert (RAMPD_TLS_CERT) and --tls-key (RAMPD_TLS_KEY) go together: give both."),
        (["--tls-key", "/k"], "--tls-cert (RAMPD_TLS_CERT) and --tls-key (RAMPD_TLS_KEY) go together: give both."),
        (["--tls-client-ca", "/ca"], "--tls-client-ca (RAMPD_TLS_CLIENT_CA) needs --tls-cert (RAMPD_TLS_CERT)."),
        (
            ["--launcher-socket", "/s", "--socket", "/s"],
            "--launcher-socket (RAMPD_LAUNCHER_SOCKET) is --socket (RAMPD_SOCKET)",
        ),
        (["--access-file", "/a", "--insecure-admin"], "--insecure-admin (RAMPD_INSECURE_ADMIN) lets everybody in"),
        (["--listen", "https://127.0.0.1:1"], "--listen (RAMPD_LISTEN): 127.0.0.1:1 needs TLS: give --tls-cert"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(flags, told):
    [sentence] = mistakes(*flags)
    assert sentence.startswith(told)


@pytest.mark.parametrize(("text", "mode"), [("600", 0o600), ("0660", 0o660), ("666", 0o666), ("777", 0o777)])
def test_the_mode_of_the_socket_is_octal(text, mode):
    assert config("--socket-mode", text).socket_mode == mode


@pytest.mark.parametrize("text", ["66", "6600", "800", "060", "0o660", "rw", "-660", " 660"])
def test_a_mode_that_is_none_or_keeps_the_owner_out_is_refused(text):
    [sentence] = mistakes(f"--socket-mode={text}")
    assert sentence.startswith(f"--socket-mode (RAMPD_SOCKET_MODE): {text!r} is not a mode in octal digits")


def test_the_group_of_the_socket_is_a_name_or_a_number():
    group = grp.getgrgid(os.getgid())
    assert config("--socket-group", group.gr_name).socket_group == group.gr_gid
    assert config("--socket-group", "4711").socket_group == 4711
    [sentence] = mistakes("--socket-group", "nobody-s-group")
    assert sentence == "--socket-group (RAMPD_SOCKET_GROUP): there is no group 'nobody-s-group' on this machine."


@pytest.mark.parametrize(
    "text", ["50051", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:5", "127.0.0.1:5\n", "a:-1"]
)
def test_an_invalid_address_is_refused(text):
    [sentence] = mistakes("--listen", text)
    assert "is not host:port" in sentence


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h", "redis://h"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("rediss://u:pw@h:6379/0", "rediss://u:***@h:6379/0"),
        ("redis://:pw@h", "redis://:***@h"),
        ("redis://u:p%40w:x@[::1]:1/2", "redis://u:***@[::1]:1/2"),
        ("redis://h?password=pw&db=1", "redis://h?password=***&db=1"),
        ("redis://ada@h?password=pw", "redis://ada@h?password=***"),
        ("redis://u:%2F%23%3F%40pw@h", "redis://u:***@h"),
        (
            "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false",
            "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false",
        ),
        ("unix:///run/a b/ä.sock", "unix:///run/a b/ä.sock"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("unix://u:pw@/run/redis.sock", "unix://u:***@/run/redis.sock"),
        ("redis+sentinel://a:26379,b/main", "redis+sentinel://a:26379,b/main"),
        ("redis+sentinel://u:p%2Fw@a,[::1]:1/main/2", "redis+sentinel://u:***@a,[::1]:1/main/2"),
        (
            "rediss+sentinel://:pw@a/main?sentinel_username=s&sentinel_password=pw",
            "rediss+sentinel://:***@a/main?sentinel_username=s&sentinel_password=***",
        ),
        ("redis+cluster://u:p%2Fw@a,[::1]:1", "redis+cluster://u:***@a,[::1]:1"),
        ("redis+cluster://a:7000,b:7000/0?password=pw", "redis+cluster://a:7000,b:7000/0?password=***"),
    ],
)
def test_a_redis_url_is_kept_complete_and_shown_without_its_password(url, shown):
    made = config("--redis-url", url)
    assert made.redis_url.get_secret_value() == url
    assert str(made.redis_url) == shown
    assert "pw" not in f"{made} {made!r} {made.redis_url!r}"


@pytest.mark.parametrize(
    "url",
    [
        "http://u:pw@h",
        "u:pw@h:6379",
        "redis://u:pw@",
        "redis://u:pw@h:notaport",
        "redis://u:pw@h:99999",
        "redis://u:pw@h:0",
        "redis://u:pw@h/db",
        "redis://u:pw@[h",
        "unix://u:pw@",
        "redis+sentinel://u:pw@a",
        "redis+sentinel://u:pw@a,/main",
        "redis+sentinel://u:pw@a:0/main?sentinel_password=pw",
        "redis+cluster://u:pw@a,",
        "redis+cluster://u:pw@a,b/1",
    ],
)
def test_a_wrong_redis_url_is_refused_and_not_shown(url, monkeypatch):
    for arguments in (["--redis-url", url], []):
        monkeypatch.setenv("RAMPD_REDIS_URL", url)
        [sentence] = mistakes(*arguments)
        assert sentence.startswith("--redis-url (RAMPD_REDIS_URL): ")
        assert "pw" not in sentence


@pytest.mark.parametrize("sign", ["/", "?", "#", "@", "/@", "%", "%2", "%zz", "["])
@pytest.mark.parametrize(
    "url",
    [
        "redis://ada:pw{}pw@h:6379/0",
        "redis://:7{}pw@h",
        "rediss://:pw{}@h",
        "unix://:pw{}pw@/run/r",
        "redis+sentinel://ada:pw{}pw@a,b/main",
        "redis+cluster://ada:pw{}pw@a,b",
    ],
)
def test_the_error_for_a_special_character_in_a_password_says_to_percent_encode_it(url, sign):
    [sentence] = mistakes("--redis-url", url.format(sign))
    assert "%2F for /, %23 for #, %3F for ?, %40 for @" in sentence
    assert "pw" not in sentence
    assert "ada" not in sentence


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://ada@h", "it has a user but no password. For a password without a user, type redis://:password@host."),
        ("redis://h?username=ada", "it has a user but no password"),
        ("redis://:pw@h?password=pw", "the password is in it twice"),
        ("redis://ada:pw@h?username=ada", "the username is in it twice"),
        ("redis://h/1?db=2", "the database is in it twice"),
        ("redis://h?db=1&db=1", "the option db is in it twice"),
        ("redis://h?db=x", "the option db is not the number of a database"),
        ("redis://h?db=", "the option db is empty"),
        ("redis://h?foo=bar", "the option foo is not allowed"),
        ("redis://h?socket_timeout=abc", "the option socket_timeout is not allowed"),
        ("redis://h?ssl_cert_reqs=none", "the option ssl_cert_reqs is allowed only with rediss://"),
        ("rediss://h?ssl_cert_reqs=maybe", "the option ssl_cert_reqs must be one of required, optional, none"),
        ("rediss://h?ssl_check_hostname=off", "the option ssl_check_hostname must be one of true, false"),
        ("rediss://h?ssl_ca_certs=/none.pem", "the file of ssl_ca_certs can't be read: No such file or directory"),
        ("rediss://h?ssl_ca_certs=/etc/hostname", "the file of ssl_ca_certs has no certificates in PEM"),
        ("rediss://h?ssl_keyfile=/etc/hostname", "the option ssl_keyfile needs ssl_certfile"),
        ("rediss://h?ssl_certfile=/etc/hostname", "are not a certificate and its key"),
        ("redis://h?password=a+b", "write %20 for a space, %2B for +"),
        ("redis://a b", "there is a space before the path"),
        ("redis://h\n", "a line end or another control character"),
        ("redis://h#", "there is a # in it"),
        ("unix://run/redis.sock", "after unix:// must come an absolute path"),
        ("redis+sentinel://a,b", "must come the name of the service that they watch"),
        ("redis+sentinel://a,b/main/x", "must come the name of the service that they watch"),
        ("redis+sentinel://a,,b/main", "each Sentinel is a host, or host:port, with commas between them"),
        ("redis+sentinel://a:70000/main", "each Sentinel is a host, or host:port, with commas between them"),
        ("redis+sentinel://a,a:26379/main", "a Sentinel is in it twice"),
        ("redis+sentinel://ada@a/main", "For a password without a user, type redis+sentinel://:password@host."),
        ("redis+sentinel://a/main/1?db=2", "the database is in it twice"),
        ("redis+sentinel://a/main?foo=bar", "the option foo is not allowed"),
        ("redis+sentinel://a/main?ssl_cert_reqs=none", "the option ssl_cert_reqs is allowed only with rediss://"),
        ("rediss+sentinel://a/main?ssl_ca_certs=/none.pem", "the file of ssl_ca_certs can't be read"),
        ("redis+sentinel://a/main?sentinel_username=s", "the option sentinel_username, but not sentinel_password"),
        ("redis+sentinel://a/main?sentinel_password=a+b", "write %20 for a space, %2B for +"),
        ("redis+sentinel://a/main?sentinel_password=", "an option that begins with sentinel_ is empty"),
        ("redis+sentinel://a/main?sentinel_password=pw&sentinel_password=pw", "begins with sentinel_ is in it twice"),
        ("redis+sentinel://a/main#", "there is a # in it"),
        ("redis+cluster://a,,b", "each node of the cluster is a host, or host:port, with commas between them"),
        ("redis+cluster://a,a:6379", "a node of the cluster is in it twice"),
        ("redis+cluster://a/1", "a cluster has database 0 only"),
        ("redis+cluster://a?db=0", "a cluster has database 0 only: take out the option db"),
        ("redis+cluster://a#", "there is a # in it"),
        ("redis+cluster://ada@a,b", "For a password without a user, type redis+cluster://:password@host."),
        (
            "redis+cluster://a?sentinel_password=pw",
            "the option sentinel_password is allowed only with redis+sentinel://",
        ),
        ("redis+cluster://a?ssl_cert_reqs=none", "the option ssl_cert_reqs is allowed only with rediss://"),
        ("rediss+cluster://a,b?ssl_ca_certs=/none.pem", "the file of ssl_ca_certs can't be read"),
        ("redis://h?sentinel_password=pw", "the option sentinel_password is allowed only with redis+sentinel://"),
    ],
)
def test_the_error_says_what_is_wrong_with_a_redis_url(url, words):
    [sentence] = mistakes("--redis-url", url)
    assert words in sentence
    assert "pw" not in sentence


@pytest.mark.parametrize(
    "option",
    ["decode_responses", "encoding_errors", "protocol", "retry", "retry_on_timeout", "single_connection_client", "timeout",
     "socket_connect_timeout", "max_connections", "health_check_interval", "client_name", "host", "path", "connection_class"],
)  # fmt: skip
@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "unix:///run/r"])
def test_a_url_option_that_overrides_a_setting_of_rampd_is_refused(url, option):
    [sentence] = mistakes("--redis-url", f"{url}?{option}=1")
    assert f"the option {option} is not allowed, because rampd chooses the settings of its Redis client" in sentence


@pytest.mark.parametrize(
    ("url", "shown", "told", "credentials"),
    [
        ("http://p:9090", "http://p:9090", "http://p:9090", None),
        ("https://ada:p%40w@p/path/", "https://ada:***@p/path/", "https://p/path", ("ada", "p@w")),
        ("http://ada@[::1]:1", "http://ada@[::1]:1", "http://[::1]:1", ("ada", "")),
    ],
)
def test_the_url_of_prometheus_is_shown_without_its_credentials(url, shown, told, credentials):
    made = config("--prometheus-url", url).prometheus_url
    assert (str(made), made.without_credentials, made.credentials) == (shown, told, credentials)
    assert made.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "p:9090",
        "ftp://u:pw@p",
        "http://u:pw@",
        "http://u:pw@p:x",
        "http://u:pw@p:0",
        "http://u:pw@p?q=1",
        "http://u:pw@p#f",
        "http://u:pw@p/a b",
        "http://u:pw@[p",
    ],
)
def test_a_wrong_url_of_prometheus_is_refused_and_not_shown(url):
    [sentence] = mistakes("--prometheus-url", url)
    assert sentence.startswith("--prometheus-url (RAMPD_PROMETHEUS_URL): ")
    assert "pw" not in sentence


@pytest.mark.parametrize("seconds", ["0", "-1", "30.1", "nan", "inf", "5s", ""])
def test_the_time_out_of_prometheus_is_a_number_of_seconds(seconds):
    [sentence] = mistakes(f"--prometheus-timeout={seconds}")
    assert sentence.startswith("--prometheus-timeout (RAMPD_PROMETHEUS_TIMEOUT): ")


URL = ("--prometheus-url", "http://p:9090")


def test_headers_are_given_singly_or_in_lines_and_their_values_are_never_shown(monkeypatch):
    made = config(*URL, "--prometheus-header", "X-Scope-OrgID: team:s3cr3t", "--prometheus-header=X-Key:s3cr3t")
    monkeypatch.setenv("RAMPD_PROMETHEUS_HEADER", "\n X-Scope-OrgID:team:s3cr3t\nX-Key: s3cr3t \n")

    assert config(*URL).prometheus_header == made.prometheus_header
    assert made.prometheus_header.by_name == {"X-Scope-OrgID": "team:s3cr3t", "X-Key": "s3cr3t"}
    assert str(made.prometheus_header) == "X-Scope-OrgID: ***, X-Key: ***"
    assert "s3cr3t" not in repr(made) + str(made) + repr(made.prometheus_header)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("s3cr3t", "a header is a name, a colon and a value, such as 'X-Scope-OrgID: team'."),
        ("X-Key s3cr3t:", "a header is a name, a colon and a value, such as 'X-Scope-OrgID: team'."),
        (": s3cr3t", "a header is a name, a colon and a value, such as 'X-Scope-OrgID: team'."),
        ("X-Key:", "the value of X-Key is empty, or is not printable ASCII on one line."),
        ("X-Key: s3cr3t\r\nX-Evil: 1", "the value of X-Key is empty, or is not printable ASCII on one line."),
        ("X-Key: s3cr3tä", "the value of X-Key is empty, or is not printable ASCII on one line."),
        ("Host: s3cr3t", "rampd sets Host itself: leave it out."),
        ("Content-Length: 3", "rampd sets Content-Length itself: leave it out."),
        ("  ", "it has no header; a header looks like 'X-Scope-OrgID: team'."),
        (
            "authorization: Bearer s3cr3t",
            "Authorization can't be given as a header. Put a bearer token into a file for --prometheus-token-file, or a "
            "user and a password into --prometheus-url.",
        ),
    ],
)
def test_a_wrong_header_is_refused_without_showing_its_value(header, said):
    assert mistakes(*URL, "--prometheus-header", header) == [f"--prometheus-header (RAMPD_PROMETHEUS_HEADER): {said}"]


def test_a_header_is_given_once():
    [sentence] = mistakes(*URL, "--prometheus-header", "X-Key: s3cr3t", "--prometheus-header", "x-key: s3cr3t2")
    assert sentence == "--prometheus-header (RAMPD_PROMETHEUS_HEADER): x-key is given twice: once is enough."


@pytest.mark.parametrize("flag", ["--prometheus-token-file=/t", "--prometheus-header=X-Key: s3cr3t"])
def test_settings_for_prometheus_require_the_url_of_prometheus(flag):
    [sentence] = mistakes(flag)
    assert sentence.startswith(flag.partition("=")[0])
    assert sentence.endswith("it needs --prometheus-url (RAMPD_PROMETHEUS_URL), which is missing.")


def test_a_token_and_a_user_are_not_sent_together():
    assert mistakes("--prometheus-url", "http://ada:s3cr3t@p", "--prometheus-token-file", "/t") == [
        "--prometheus-token-file (RAMPD_PROMETHEUS_TOKEN_FILE): the URL of Prometheus has a user and a password; give "
        "either these or the token file."
    ]


def test_a_wrong_url_of_prometheus_is_one_mistake():
    [sentence] = mistakes("--prometheus-url", "p:9090", "--prometheus-token-file", "/t")
    assert sentence.startswith("--prometheus-url ")


def test_a_url_without_its_flag_is_refused_and_not_shown():
    [sentence] = mistakes("redis://u:pw@h")
    assert "pw" not in sentence


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a" * 64, "a\n", "ä"])
def test_a_namespace_is_a_name(name):
    [sentence] = mistakes(f"--namespace={name}")
    assert sentence.startswith("--namespace (RAMPD_NAMESPACE): ")


@pytest.mark.parametrize("count", ["0", "65", "-1", "1.5", "two", "\u0662", ""])
def test_workers_are_counted_from_1_to_64(count):
    [sentence] = mistakes(f"--workers={count}")
    assert sentence.startswith("--workers (RAMPD_WORKERS): ")


@pytest.mark.parametrize("number", ["10", "-1", "one", "1.5", "٣"])
def test_the_number_of_replicas_to_wait_for_is_checked(number):
    [sentence] = mistakes("--redis-url=redis://h", f"--wait-replicas={number}")
    assert sentence == f"--wait-replicas (RAMPD_WAIT_REPLICAS): {number!r} is not a whole number from 0 to 9."


def test_the_store_of_rampd_itself_has_no_replicas_to_wait_for():
    [sentence] = mistakes("--wait-replicas=1")
    assert sentence.startswith("--wait-replicas (RAMPD_WAIT_REPLICAS) needs --redis-url (RAMPD_REDIS_URL)")
    assert config("--wait-replicas=0").wait_replicas == 0


@pytest.mark.parametrize("count", ["-1", "10001", "1.5", "many", "1" * 5000, ""])
def test_metrics_are_of_0_to_10000_components(count):
    assert MAX_METRICS_COMPONENTS == MAX_COMPONENTS
    assert config("--metrics-components=0").metrics_components == 0
    [sentence] = mistakes(f"--metrics-components={count}")
    assert sentence.startswith("--metrics-components (RAMPD_METRICS_COMPONENTS): ")


def test_all_mistakes_are_reported_at_once_with_flag_and_variable(monkeypatch):
    monkeypatch.setenv("RAMPD_REFLECTION", "maybe")
    monkeypatch.setenv("RAMPD_DATA_DIR", "~nobody-of-that-name/rampd")
    found = mistakes("--listen", "here", "--log-level", "loud", "--redis-uri", "redis://h", "--log-format", "xml")
    assert [sentence.split(" ")[0] for sentence in found] == [
        "There",
        "--data-dir",
        "--listen",
        "--reflection",
        "--log-format",
        "--log-level",
    ]
    assert found[0] == "There is no flag --redis-uri; did you mean --redis-url?"
    assert all(sentence.endswith((".", "?")) for sentence in found)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sing"], "There is no command 'sing': serve, adopt, export, import or upgrade."),
        (["serve", "adopt"], "Give one command, not several: serve adopt."),
        (["--namespace"], "argument --namespace: expected one argument."),
        (["export", "--histroy"], "There is no flag --histroy; did you mean --history?"),
        (["import", "--history"], "--history is a flag of export, and not of import."),
        (["--names", "x"], "There is no flag --names; did you mean --namespace?"),
    ],
)
def test_the_error_for_a_wrong_command_line_is_a_sentence(arguments, sentence):
    assert mistakes(*arguments) == [sentence]


def test_the_data_directory_must_be_named_without_a_home_directory(monkeypatch):
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", no_home)
    [sentence] = mistakes()
    assert sentence.startswith("--data-dir (RAMPD_DATA_DIR): there is no home directory")
    assert config("--data-dir", "/d").data_dir == Path("/d")


def test_help_names_every_flag_and_variable_and_exits_with_zero(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        read(["--help"])
    text = capsys.readouterr().out
    for name in Config.model_fields:
        assert f"--{name.replace('_', '-')} " in text or f"--{name.replace('_', '-')}," in text
        assert f"[RAMPD_{name.upper()}]" in text
    for option in re.split(r"^  --", text, flags=re.MULTILINE):
        assert option.count("(default: ") <= 1
    assert "rampd-server token create | list | revoke" in text
    assert "rampd-server access check FILE" in text


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        read(["--version"])
    assert re.fullmatch(r"rampd \d+\.\d+\.\d+\n", capsys.readouterr().out)
