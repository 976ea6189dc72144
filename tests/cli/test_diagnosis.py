"""What each check of `rampd doctor` says about facts. No server."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rampd import errors, v1
from rampd_cli.commands.doctor import exit_code
from rampd_cli.diagnosis import connection, identity, server, store
from rampd_cli.diagnosis.address import Address, Kind
from rampd_cli.diagnosis.checks import findings
from rampd_cli.diagnosis.facts import Answer, Certificate, Facts, Knock, Speaks, Trust
from rampd_cli.diagnosis.finding import Finding, Result
from rampd_cli.diagnosis.skew import skew

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOW_S = NOW.timestamp()
ME = v1.WhoAmIResponse(identity="ada", role="operator", components=["*"], proof="token")
LOCAL, REMOTE, SECURE = "127.0.0.1:50051", "rampd.example.com:50051", "https://rampd.example.com:50051"


def a_store(**fields: Any) -> v1.StoreStatus:
    given = {
        "product": "redis",
        "version": "7.2.4",
        "append_only": True,
        "append_fsync": "everysec",
        "used_memory_bytes": 5 << 20,
        "max_memory_bytes": 100 << 20,
        "max_memory_policy": "noeviction",
        "replicas": 1,
        **fields,
    }
    made = v1.StoreStatus(**given)
    if not made.HasField("time"):
        made.time.FromSeconds(int(NOW_S))
    return made


def a_server(**fields: Any) -> v1.Server:
    given = {"version": "0.1.0", "namespace": "default", "components": 3, "epoch": "e1", "last_entry": "5-0", **fields}
    made = v1.Server(**{"store": a_store(), **given})
    made.time.FromSeconds(int(NOW_S))
    if "snapshot_age" not in fields:
        made.snapshot_age.FromTimedelta(timedelta(milliseconds=400))
    return made


def facts(address: str = LOCAL, told: v1.Server | errors.RampdError | None = None, **fields: Any) -> Facts:
    """What is found out about a server with which all is well. `told` is what GetServer answered."""
    given: dict[str, Any] = {"knock": Knock.OPEN, "caller": ME, **fields}
    if isinstance(told, errors.RampdError):
        given["answer_error"] = told
    else:
        given["answer"] = Answer(told or a_server(), NOW_S - 0.01, NOW_S + 0.01)
    return Facts(Address.parse(address), "--server", NOW, "0.1.0", **given)


def unreached(address: str = LOCAL, **fields: Any) -> Facts:
    error = errors.UnavailableError(f"Can't reach a rampd server at {address}: gRPC has said something.")
    return replace(facts(address), **{"answer": None, "caller": None, "caller_error": error, **fields})


def found(finding: Finding | None) -> tuple[str, str]:
    assert finding is not None
    assert bool(finding.advice) == (finding.result is not Result.OK), finding
    return str(finding.result), f"{finding.message} {finding.advice}"


def test_where_all_is_well_every_check_is_ok_and_has_no_advice() -> None:
    said = list(findings([facts()]))
    assert [each.check for each in said] == [
        *("reach", "tls", "credentials", "version", "store", "staleness", "components", "persistence", "memory"),
        *("clock", "exposure"),
    ]
    assert {each.result for each in said} == {Result.OK}
    assert {each.advice for each in said} == {""}
    assert {each.server for each in said} == {LOCAL}
    assert exit_code([facts()], said) == 0


@pytest.mark.parametrize(
    ("text", "kind", "is_tls", "host", "is_local"),
    [
        ("127.0.0.1:50051", Kind.TCP, False, "127.0.0.1", True),
        ("https://[::1]:50051", Kind.TCP, True, "::1", True),
        ("localhost:1", Kind.TCP, False, "localhost", True),
        ("https://rampd.example.com:443", Kind.TCP, True, "rampd.example.com", False),
        ("10.0.0.1:443", Kind.TCP, False, "10.0.0.1", False),
        ("unix:/run/rampd.sock", Kind.SOCKET, False, "", True),
        ("unix:///run/a%20b.sock", Kind.SOCKET, False, "", True),
        ("dns:///rampd:50051", Kind.OTHER, False, "", False),
        ("ipv4:10.0.0.1:5,10.0.0.2:5", Kind.OTHER, False, "", False),
        ("unix-abstract:rampd:1", Kind.OTHER, False, "", False),
        ("rampd.example.com", Kind.OTHER, False, "", False),
        ("http://rampd:80", Kind.OTHER, False, "", False),
        ("", Kind.OTHER, False, "", False),
    ],
)
def test_an_address_is_taken_apart(text: str, kind: Kind, is_tls: bool, host: str, is_local: bool) -> None:
    address = Address.parse(text)
    assert (address.kind, address.is_tls, address.host, address.is_local) == (kind, is_tls, host, is_local)


def test_the_path_of_a_socket_is_read_as_the_client_reads_it() -> None:
    assert Address.parse("unix:///run/a%20b.sock").path == "/run/a b.sock"
    assert Address.parse("unix:/run/a%20b.sock").path == "/run/a%20b.sock"


class TestReach:
    @pytest.mark.parametrize(
        ("address", "knock", "part"),
        [
            (REMOTE, Knock.UNKNOWN_HOST, "no host rampd.example.com"),
            (REMOTE, Knock.REFUSED, "On rampd.example.com, look whether rampd-server runs"),
            (LOCAL, Knock.REFUSED, "If a server should run there, start that one"),
            (REMOTE, Knock.SILENT, "Look for a firewall"),
            (REMOTE, Knock.FAILED, "can't be reached"),
            ("unix:/run/rampd.sock", Knock.NO_SOCKET, "no socket /run/rampd.sock"),
            ("unix:/run/rampd.sock", Knock.FORBIDDEN, "--socket-mode 660"),
        ],
    )
    def test_a_server_that_is_not_there_is_a_problem_with_a_way_out(
        self, address: str, knock: Knock, part: str
    ) -> None:
        asked = unreached(address, knock=knock, caller_error=None, knock_detail="the words of the system")
        result, text = found(connection.reach(asked))
        assert result == "problem"
        assert part in text
        said = list(findings([asked]))
        assert [each.check for each in said] == ["reach"]
        assert exit_code([asked], said) == 3

    @pytest.mark.parametrize("why", ["--server", "RAMPD_SERVER", "the profile prod", "this machine"])
    @pytest.mark.parametrize("address", [LOCAL, "unix:/run/rampd.sock"])
    @pytest.mark.parametrize("data", [(), ("/var/lib/rampd",)])
    def test_only_where_no_server_was_named_or_has_run_the_advice_is_to_start_one(
        self, why: str, address: str, data: tuple[str, ...]
    ) -> None:
        """Given a server that is stopped, expect no command that starts another one, with other data."""
        is_unnamed = why == "this machine"
        knock = Knock.REFUSED if address == LOCAL else Knock.NO_SOCKET
        asked = unreached(address, knock=knock, caller_error=None, why=why, is_unnamed=is_unnamed, data=data)
        said = connection.reach(asked)
        starts_one = is_unnamed and not data and address == LOCAL
        assert ("rampd-server" in said.advice) is starts_one
        assert ("export RAMPD_SERVER=" in said.advice) is starts_one
        assert ("systemctl status rampd" in said.advice) is not starts_one
        assert ("its data are in /var/lib/rampd." in said.message) is (is_unnamed and bool(data) and address == LOCAL)

    @pytest.mark.parametrize(
        ("data", "how"),
        [
            (("/src/rampd/.rampd",), "How: make run, in /src/rampd. Any"),
            (
                ("/src/rampd/.rampd", "/var/lib/rampd"),
                "How: make run, in /src/rampd; otherwise systemctl status rampd, or",
            ),
            (("/var/lib/rampd",), "How: systemctl status rampd, or"),
        ],
    )
    def test_a_stopped_server_of_make_run_is_started_by_make_run(self, data: tuple[str, ...], how: str) -> None:
        asked = unreached(LOCAL, knock=Knock.REFUSED, caller_error=None, why="this machine", is_unnamed=True, data=data)
        assert how in connection.reach(asked).advice

    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            ({"why": "--server"}, f"rampd doctor --server {REMOTE}"),
            ({"why": "--server", "profile": "prod"}, f"rampd doctor --server {REMOTE} --profile prod"),
            ({"why": "RAMPD_SERVER"}, "rampd doctor"),
            ({"why": "the profile prod", "profile": "prod"}, "rampd doctor --profile prod"),
        ],
    )
    def test_to_ask_again_a_person_types_what_was_typed_before(self, typed: dict[str, str], expected: str) -> None:
        asked = replace(facts(REMOTE, a_server(store_problem="no")), **typed)
        assert found(store.store(asked))[1].endswith(f"then type: {expected}")

    def test_another_program_at_the_port_is_named_with_what_grpc_says(self) -> None:
        result, text = found(connection.reach(unreached()))
        assert result == "problem"
        assert "no server of rampd answers" in text
        assert "gRPC has said something" in text
        assert "not the port of --http" in text

    def test_no_address_at_all_is_a_problem(self) -> None:
        wrong = errors.InvalidArgumentError(violations=[("target", "must be …; got 'x'")])
        asked = unreached("x", wrong=wrong, caller_error=None, knock=Knock.NOT_TRIED)
        assert [(each.check, each.result) for each in findings([asked])] == [("reach", "problem")]


class TestTls:
    def test_without_tls_a_connection_beyond_the_machine_is_a_warning(self) -> None:
        assert found(connection.tls(facts(LOCAL)))[0] == "ok"
        result, text = found(connection.tls(facts(REMOTE)))
        assert result == "warning"
        assert f"rampd doctor --server {SECURE}" in text

    @pytest.mark.parametrize(
        ("address", "speaks", "part"),
        [
            (REMOTE, Speaks.TLS, f"rampd doctor --server {SECURE}"),
            (SECURE, Speaks.PLAIN, f"rampd doctor --server {REMOTE}"),
        ],
    )
    def test_the_wrong_kind_of_port_is_a_problem_with_the_right_address(
        self, address: str, speaks: Speaks, part: str
    ) -> None:
        asked = unreached(address, speaks=speaks)
        result, text = found(connection.tls(asked))
        assert result == "problem"
        assert part in text
        assert "see `tls`" in found(connection.reach(asked))[1]

    @pytest.mark.parametrize(
        ("trust", "parts"),
        [
            (Trust.UNTRUSTED, ["Its issuer is Our CA", "export RAMPD_CA_FILE="]),
            (Trust.OTHER_NAME, ["is for *.one, two.example.com", "--server https://two.example.com:50051"]),
            (Trust.ENDED, ["has ended on 2026-10-01", "--tls-cert"]),
            (Trust.NOT_YET, ["not valid yet", "date -u"]),
            (Trust.TRUSTED, ["gRPC has said something", "RAMPD_CERT_FILE="]),
        ],
    )
    def test_a_certificate_that_is_not_accepted_is_a_problem_with_its_reason(
        self, trust: Trust, parts: list[str]
    ) -> None:
        end = datetime(2026, 10, 1, tzinfo=UTC)
        certificate = Certificate(trust, ("*.one", "two.example.com"), "Our CA", end)
        result, text = found(connection.tls(unreached(SECURE, certificate=certificate, speaks=Speaks.TLS)))
        assert result == "problem"
        for part in parts:
            assert part in text

    @pytest.mark.parametrize(
        ("left", "result", "part"),
        [
            (timedelta(days=14), "ok", "valid until 2026-11-15 12:00 UTC"),
            (timedelta(days=14) - timedelta(seconds=1), "warning", "ends in 13 days"),
            (timedelta(hours=5), "warning", "ends in 5 h"),
        ],
    )
    def test_a_certificate_that_ends_within_14_days_is_a_warning(self, left: timedelta, result: str, part: str) -> None:
        certificate = Certificate(Trust.TRUSTED, ("rampd.example.com",), "Our CA", NOW + left)
        said = found(connection.tls(facts(SECURE, certificate=certificate)))
        assert said[0] == result
        assert part in said[1]

    def test_a_connection_that_works_counts_more_than_what_this_machine_thinks_of_the_certificate(self) -> None:
        """Given authorities that the client has and the system does not, expect no problem."""
        asked = facts(SECURE, certificate=Certificate(Trust.UNTRUSTED))
        assert found(connection.tls(asked))[0] == "ok"

    def test_a_socket_has_no_tls_to_speak_of(self) -> None:
        assert connection.tls(facts("unix:/run/rampd.sock")) is None

    def test_authorities_that_can_t_be_read_are_a_problem(self) -> None:
        wrong = errors.InvalidArgumentError(violations=[("ca_file", "/x can't be read: No such file")])
        asked = unreached(SECURE, wrong=wrong, caller_error=None, knock=Knock.NOT_TRIED)
        said = {each.check: each for each in findings([asked])}
        assert set(said) == {"reach", "tls"}
        assert "/x can't be read" in said["tls"].message


class TestCredentials:
    def test_they_say_who_one_is_and_until_when(self) -> None:
        me = v1.WhoAmIResponse(identity="ada", role="viewer", components=["a", "b-*"], proof="token")
        me.expire_time.FromDatetime(NOW + timedelta(days=14))
        result, text = found(identity.credentials(facts(caller=me)))
        assert result == "ok"
        assert "ada with the role viewer, which reads and changes nothing, for a, b-*; proven by the token" in text
        assert "2026-11-15 12:00 UTC" in text

    @pytest.mark.parametrize(
        ("proof", "left", "result"),
        [
            ("token", timedelta(days=13), "warning"),
            ("token", timedelta(minutes=5), "warning"),
            ("token", timedelta(days=15), "ok"),
            ("oidc", timedelta(minutes=5), "ok"),
            ("certificate", timedelta(hours=5), "ok"),
        ],
    )
    def test_a_token_that_ends_soon_is_a_warning_unless_something_renews_it(
        self, proof: str, left: timedelta, result: str
    ) -> None:
        me = v1.WhoAmIResponse(identity="ada", role="viewer", components=["*"], proof=proof)
        me.expire_time.FromDatetime(NOW + left)
        assert found(identity.credentials(facts(caller=me)))[0] == result

    def test_a_launcher_s_credential_is_not_for_this_command(self) -> None:
        me = v1.WhoAmIResponse(identity="eu", role="launcher", components=["*"], proof="token")
        refused = errors.PermissionDeniedError("eu has the role launcher …", reason="ROLE_REQUIRED")
        asked = facts(told=refused, caller=me)
        assert {each.check: each.result for each in findings([asked])} == {
            "reach": "ok",
            "tls": "ok",
            "credentials": "warning",
            "version": "warning",
        }

    @pytest.mark.parametrize(
        ("reason", "parts"),
        [
            ("NO_CREDENTIALS", ["this command has none", "export RAMPD_TOKEN_FILE="]),
            ("BAD_CREDENTIALS", ["The credential of RAMPD_TOKEN is not accepted", "It was revoked", "token create"]),
            ("UNAUTHENTICATED", ["It was revoked"]),
        ],
    )
    def test_a_credential_that_is_refused_is_a_problem_and_the_server_is_reached(
        self, reason: str, parts: list[str]
    ) -> None:
        error = errors.UnauthenticatedError("It was revoked.", reason=reason)
        asked = replace(facts(caller_error=error, proof="RAMPD_TOKEN"), answer=None, caller=None)
        said = list(findings([asked]))
        assert [(each.check, str(each.result)) for each in said] == [
            ("reach", "ok"),
            ("tls", "ok"),
            ("credentials", "problem"),
        ]
        assert exit_code([asked], said) == 1
        for part in parts:
            assert part in f"{said[2].message} {said[2].advice}"

    def test_a_token_that_is_not_sent_in_the_clear_is_a_problem_with_the_right_address(self) -> None:
        wrong = errors.InvalidArgumentError(violations=[("credentials", "a token is not sent in the clear")])
        asked = unreached(REMOTE, wrong=wrong, caller_error=None, knock=Knock.NOT_TRIED, proof="RAMPD_TOKEN")
        assert f"--server {SECURE}" in found(identity.credentials(asked))[1]
        assert [each.check for each in findings([asked])] == ["reach", "credentials"]


class TestVersion:
    @pytest.mark.parametrize(
        ("there", "result", "part"),
        [
            ("0.1.0", "ok", "rampd 0.1.0"),
            ("0.1.7", "ok", "rampd 0.1.7"),
            ("0.2.0", "warning", "pip install 'rampd[cli]==0.2.0'"),
            ("0.0.9", "warning", "pip install 'rampd[server]==0.1.0'"),
            ("0.10.0", "warning", "pip install 'rampd[cli]==0.10.0'"),
        ],
    )
    def test_another_version_is_a_warning_that_says_which_side_to_update(
        self, there: str, result: str, part: str
    ) -> None:
        said = found(server.version(facts(told=a_server(version=there))))
        assert said[0] == result
        assert part in said[1]

    def test_a_server_without_this_call_is_older(self) -> None:
        asked = facts(told=errors.UnimplementedError("GetServer of …: Method not found!"))
        said = list(findings([asked]))
        assert [each.check for each in said] == ["reach", "tls", "credentials", "version"]
        assert said[-1].result is Result.WARNING
        assert "older than this command" in said[-1].message
        assert exit_code([asked], said) == 0


class TestStore:
    def test_a_store_that_is_away_is_a_problem_and_nothing_is_said_of_its_settings(self) -> None:
        told = a_server(stale=True, store_problem="Redis did not answer in time.")
        told.ClearField("store")
        told.snapshot_age.FromTimedelta(timedelta(seconds=31))
        said = {each.check: each for each in findings([facts(told=told)])}
        assert not said.keys() & {"persistence", "memory"}
        assert "Redis did not answer in time." in found(said["store"])[1]
        assert "31 s ago" in found(said["staleness"])[1]
        assert {said["store"].result, said["staleness"].result} == {Result.PROBLEM}
        assert exit_code([facts(told=told)], list(said.values())) == 1

    def test_a_server_without_a_state_is_a_problem(self) -> None:
        told = a_server(stale=True)
        told.ClearField("snapshot_age")
        assert "no state yet" in found(server.staleness(facts(told=told)))[1]

    def test_a_state_of_unknown_age_says_so(self) -> None:
        told = a_server(stale=True)
        told.snapshot_age.FromSeconds(10**9)
        assert "at a time that is not known" in found(server.staleness(facts(told=told)))[1]

    def test_a_store_that_answers_and_is_not_followed_is_a_problem(self) -> None:
        told = a_server(store_problem="The store was emptied. Type rampd-server adopt.")
        result, text = found(store.store(facts(told=told)))
        assert result == "problem"
        assert "rampd-server adopt" in text

    @pytest.mark.parametrize(
        ("fields", "result", "part"),
        [
            ({}, "ok", "may lose a second"),
            ({"append_fsync": "always"}, "ok", "loses nothing"),
            ({"append_fsync": "no"}, "warning", "CONFIG SET appendfsync everysec"),
            ({"append_only": False}, "warning", "CONFIG SET appendonly yes"),
            ({"save_failed": True}, "problem", "df -h"),
            ({"append_only": False, "unknown": ["append_only"]}, "warning", "ACL SETUSER"),
            ({"append_fsync": "", "unknown": ["append_fsync"]}, "ok", "not known"),
        ],
    )
    def test_what_is_lost_at_a_crash_is_said(self, fields: dict[str, Any], result: str, part: str) -> None:
        said = found(store.persistence(facts(told=a_server(store=a_store(**fields)))))
        assert said[0] == result
        assert part in said[1]

    @pytest.mark.parametrize(
        ("fields", "command"),
        [
            ({}, "redis-cli CONFIG SET appendonly yes. Write"),
            ({"primary": "10.0.0.1:6379"}, "redis-cli -h 10.0.0.1 -p 6379 CONFIG SET appendonly yes. Write"),
            ({"primary": "[::1]:6379"}, "redis-cli -h ::1 -p 6379 CONFIG"),
            ({"primary": "$(id):6379"}, "redis-cli -h '$(id)' -p 6379 CONFIG"),
            ({"primary": "unix:///run/a redis.sock"}, "redis-cli -s '/run/a redis.sock' CONFIG"),
            ({"primary": "10.0.0.1:6379", "topology": "sentinel"}, "appendonly yes. Type the same for its replicas."),
            ({"topology": "cluster"}, "appendonly yes. Type the same for each other node of the cluster."),
        ],
    )
    def test_what_to_type_reaches_the_store(self, fields: dict[str, Any], command: str) -> None:
        status = a_store(append_only=False, primary=fields.pop("primary", ""), **fields)
        assert command in found(store.persistence(facts(told=a_server(store=status))))[1]

    @pytest.mark.parametrize(
        ("fields", "result", "part"),
        [
            ({}, "ok", "5 MiB of 100 MiB"),
            ({"max_memory_bytes": 0}, "ok", "maxmemory 0"),
            ({"used_memory_bytes": 80 << 20}, "warning", "80%"),
            ({"used_memory_bytes": 79 << 20}, "ok", "79 MiB"),
            ({"used_memory_bytes": 95 << 20}, "problem", "CONFIG SET maxmemory 200mb"),
            ({"used_memory_bytes": 3 << 30, "max_memory_bytes": 3 << 30}, "problem", "CONFIG SET maxmemory 6144mb"),
            ({"max_memory_policy": "allkeys-lru"}, "problem", "CONFIG SET maxmemory-policy noeviction"),
            ({"max_memory_policy": "", "unknown": ["max_memory_policy"]}, "warning", "ACL SETUSER"),
            ({"used_memory_bytes": 0, "unknown": ["used_memory_bytes"]}, "ok", "may use of 100 MiB"),
        ],
    )
    def test_memory_that_runs_out_or_is_taken_back_is_said(
        self, fields: dict[str, Any], result: str, part: str
    ) -> None:
        said = found(store.memory(facts(told=a_server(store=a_store(**fields)))))
        assert said[0] == result
        assert part in said[1]

    def test_a_store_that_tells_only_its_time_is_a_store(self) -> None:
        told = a_server(store=a_store(product="", version="", unknown=["product", "version"]))
        assert found(store.store(facts(told=told)))[0] == "ok"

    @pytest.mark.parametrize(
        ("fields", "part"),
        [
            ({}, "Redis 7.2.4, with 1 replica."),
            ({"primary": "10.0.0.1:6379", "topology": "single"}, "Redis 7.2.4 at 10.0.0.1:6379, with 1 replica."),
            (
                {"primary": "10.0.0.1:6379", "topology": "sentinel"},
                "Redis 7.2.4 at 10.0.0.1:6379, the primary that Sentinels name, with 1 replica.",
            ),
            ({"replicas": 2}, "with 2 replicas."),
            ({"replicas": 0}, "with no replicas."),
            (
                {"product": "valkey", "version": "9.1.0", "embedded": True, "primary": "unix:///data/valkey.sock"},
                "Valkey 9.1.0, which the server runs itself.",
            ),
            ({"replicas": 0, "unknown": ["replicas"]}, "not known"),
        ],
    )
    def test_it_says_what_the_store_is(self, fields: dict[str, Any], part: str) -> None:
        assert part in found(store.store(facts(told=a_server(store=a_store(**fields)))))[1]


def test_components_that_can_t_be_read_are_a_problem() -> None:
    result, text = found(server.components(facts(told=a_server(components=3, damaged_components=1))))
    assert result == "problem"
    assert "3 components in the namespace default. The data of 1 component can't be read. See which ones" in text


class TestClock:
    @pytest.mark.parametrize(
        ("asked_s", "came_s", "result", "part"),
        [
            (-0.01, 0.01, "ok", "same time"),
            (-2.0, -2.0, "ok", "same time"),
            (-3.0, -3.0, "warning", "The clock of the server is 3 s ahead of the clock of this machine."),
            (3.0, 3.0, "warning", "The clock of the server is 3 s behind the clock of this machine."),
            # The answer may have taken all of the time on one of the two ways.
            (-8.0, 0.0, "ok", "same time"),
            (-12.5, -4.5, "warning", "ahead of"),
        ],
    )
    def test_a_difference_of_more_than_two_seconds_beyond_the_time_of_the_call_is_a_warning(
        self, asked_s: float, came_s: float, result: str, part: str
    ) -> None:
        answer = Answer(a_server(), NOW_S + asked_s, NOW_S + came_s)
        said = found(server.clock(replace(facts(), answer=answer)))
        assert said[0] == result
        assert part in said[1]

    @pytest.mark.parametrize(("ahead_s", "result"), [(2, "ok"), (3, "warning"), (-61, "warning")])
    def test_the_store_s_clock_is_compared_with_the_server_s(self, ahead_s: int, result: str) -> None:
        told = a_server()
        told.store.time.FromSeconds(int(NOW_S) + ahead_s)
        said = found(server.clock(facts(told=told)))
        assert said[0] == result
        if ahead_s == -61:
            assert "The clock of the store is 1 min 1 s behind the clock of the server." in said[1]
            assert "timedatectl" in said[1]

    def test_without_a_store_only_two_clocks_are_compared(self) -> None:
        told = a_server()
        told.ClearField("store")
        assert "This machine and the server have" in found(server.clock(facts(told=told)))[1]


class TestExposure:
    @pytest.mark.parametrize(
        ("listener", "result", "parts"),
        [
            ({"reach": "owner", "changes_without_credentials": True}, "ok", []),
            ({"reach": "group", "changes_without_credentials": True}, "ok", []),
            ({"reach": "machine"}, "ok", []),
            ({"reach": "network", "tls": True, "requires_credentials": True}, "ok", []),
            ({"reach": "machine", "changes_without_credentials": True}, "warning", ["Every user", "--insecure-admin"]),
            (
                {"reach": "machine", "changes_without_credentials": True, "address": "unix:///run/r.sock"},
                "warning",
                ["unix:///run/r.sock", "--socket-mode 600"],
            ),
            (
                {"reach": "network", "changes_without_credentials": True, "tls": True},
                "problem",
                ["Everybody on the network may change", "--access-file"],
            ),
            ({"reach": "network", "tls": True}, "warning", ["can read rollouts", "everybody = true"]),
            ({"reach": "network", "requires_credentials": True}, "warning", ["no TLS", "--tls-cert"]),
            (
                {"reach": "network"},
                "warning",
                ["can read rollouts", "no TLS", "everybody = true", "--insecure-plaintext"],
            ),
        ],
    )
    def test_who_gets_in_without_a_credential_is_said(
        self, listener: dict[str, Any], result: str, parts: list[str]
    ) -> None:
        told = a_server(listeners=[v1.Listener(**{"address": "10.0.0.1:1", "protocol": "grpc", **listener})])
        said = found(server.exposure(facts(told=told)))
        assert said[0] == result
        for part in parts:
            assert part in said[1]

    def test_addresses_with_the_same_fault_are_named_in_one_sentence(self) -> None:
        told = a_server(
            listeners=[
                v1.Listener(address=address, reach="machine", changes_without_credentials=True)
                for address in ("127.0.0.1:1", "127.0.0.1:2")
            ]
        )
        text = found(server.exposure(facts(told=told)))[1]
        assert text.count("may change rollouts without a credential: 127.0.0.1:1, 127.0.0.1:2.") == 1


class TestSkew:
    def of(self, *servers: v1.Server, later: str = "5-0") -> dict[str, Finding]:
        asked = [
            facts(f"s{number}:1", told=each, later_entry=later if number else each.last_entry)
            for number, each in enumerate(servers)
        ]
        return {each.check: each for each in skew(asked)}

    def test_equal_servers_are_ok(self) -> None:
        said = self.of(a_server(), a_server())
        assert {check: str(each.result) for check, each in said.items()} == {
            "same_version": "ok",
            "same_namespace": "ok",
            "same_store": "ok",
            "same_state": "ok",
        }

    def test_one_server_alone_is_not_compared(self) -> None:
        assert skew([facts(), unreached()]) == []

    @pytest.mark.parametrize(
        ("other", "check", "result", "part"),
        [
            ({"version": "0.2.0"}, "same_version", "warning", "0.1.0 at s0:1, 0.2.0 at s1:1"),
            ({"namespace": "eu"}, "same_namespace", "problem", "default at s0:1, eu at s1:1"),
            ({"epoch": "e2"}, "same_store", "problem", "epoch e1 at s0:1, epoch e2 at s1:1"),
        ],
    )
    def test_what_differs_is_named_with_its_servers(
        self, other: dict[str, Any], check: str, result: str, part: str
    ) -> None:
        said = self.of(a_server(), a_server(**other))
        assert found(said[check])[0] == result
        assert part in said[check].message
        assert {each.check for each in said.values() if each.result is not Result.OK} == {check}

    def test_namespaces_have_stores_of_their_own(self) -> None:
        said = self.of(a_server(), a_server(namespace="eu", epoch="e2"))
        assert said["same_store"].result is Result.OK

    def test_a_server_without_a_state_has_no_other_store(self) -> None:
        assert self.of(a_server(), a_server(epoch="", last_entry=""))["same_store"].result is Result.OK

    @pytest.mark.parametrize(("later", "result"), [("5-0", "ok"), ("6-0", "ok"), ("4-9", "warning"), ("", "warning")])
    def test_a_server_that_is_behind_after_all_were_asked_is_named(self, later: str, result: str) -> None:
        said = self.of(a_server(), a_server(last_entry="3-0"), later=later)["same_state"]
        assert str(said.result) == result
        if result == "warning":
            assert f"s1:1 is at change {later or 'none'}, and the newest is 5-0" in said.message

    def test_entries_are_compared_as_numbers(self) -> None:
        said = self.of(a_server(last_entry="9-0"), a_server(last_entry="10-0"), later="10-0")
        assert said["same_state"].message.count("s0:1 is at change 9-0") == 1

    def test_the_findings_are_about_no_single_server(self) -> None:
        said = list(findings([facts("a:1"), facts("b:1")]))
        assert {each.server for each in said if each.check.startswith("same_")} == {""}


def test_a_server_that_is_not_reached_counts_more_than_a_problem() -> None:
    asked = [facts(told=a_server(damaged_components=1)), unreached(knock=Knock.REFUSED, caller_error=None)]
    assert exit_code(asked, list(findings(asked))) == 3
    assert exit_code(asked[:1], list(findings(asked[:1]))) == 1
