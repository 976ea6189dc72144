"""The server's settings: from flags, then `RAMPD_*` variables, then defaults."""

import argparse
import difflib
import grp
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, NoReturn

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rampd._contract.grammar import COMPONENT, word_violation
from rampd_server.process.address import Address, PrometheusHeaders, PrometheusUrl
from rampd_server.process.redis_url import OPTIONS, RedisUrl
from rampd_server.process.startup import StartupError

_PREFIX = "RAMPD_"
_OF_OTHERS = frozenset({"SERVER", "TOKEN", "TOKEN_FILE", "CA_FILE", "CERT_FILE", "KEY_FILE", "NIGHTLY"})
"""Variables that are not the server's: those of the clients, and one of the tests."""
_OF_KUBERNETES = re.compile(
    r"(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)=.*"
    r"|(?:\w+_)?PORT=(?:tcp|udp|sctp)://.*",
    re.ASCII,
)
"""A pod has such variables for each service of its namespace, with the service's name as their prefix. A service that
is called `rampd` must not keep a server from starting. RAMPD_PORT as a mistaken setting has a number, and not `tcp://`.
"""
MAX_WORKERS = 64
MAX_WAIT_REPLICAS = 9
MAX_METRICS_COMPONENTS = 10_000
"""As many as one namespace may have."""
_DIGITS = 10
"""Python refuses to read a number of thousands of digits."""
MIN_PROMETHEUS_TIMEOUT_S, MAX_PROMETHEUS_TIMEOUT_S = 0.1, 30.0
_REPEATED = frozenset({"listen", "prometheus_header"})
"""Flags that may be given several times."""
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class Command(StrEnum):
    """A command of `rampd-server`."""

    SERVE = "serve"
    ADOPT = "adopt"
    EXPORT = "export"
    IMPORT = "import"
    UPGRADE = "upgrade"


OPTIONS_OF: Final[Mapping[str, tuple[Command, str]]] = MappingProxyType(
    {
        "history": (Command.EXPORT, "also write the histories, and who set the overrides"),
        "discard": (
            Command.IMPORT,
            "empty a namespace whose import was ended before its end, in place of reading anything",
        ),
        "merge": (Command.IMPORT, "show what the input would change in a namespace with data"),
        "yes": (Command.IMPORT, "with --merge: also make these changes"),
        "force": (Command.UPGRADE, "also while servers are connected that can't work with the new schema"),
    }
)
"""The flags of single commands, without variables: each is given or not."""


class LogFormat(StrEnum):
    """The format of log lines: AUTO is TEXT on a terminal and JSON elsewhere."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _path(value: object) -> Path:
    try:
        return Path(str(value)).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{value} names a home directory that does not exist; write the whole path.") from None


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{value!r} is neither true nor false.")
    return word in _TRUE


def _namespace(value: object) -> str:
    wrong = word_violation(COMPONENT, str(value), required=True)
    if wrong is not None:
        raise ValueError(f"{wrong}.")
    return str(value)


def _workers(value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= MAX_WORKERS:
        raise ValueError(f"{text!r} is not a whole number from 1 to {MAX_WORKERS}.")
    return int(text)


def _wait_replicas(value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS) or int(text) > MAX_WAIT_REPLICAS:
        raise ValueError(f"{text!r} is not a whole number from 0 to {MAX_WAIT_REPLICAS}.")
    return int(text)


def _metrics_components(value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS) or int(text) > MAX_METRICS_COMPONENTS:
        raise ValueError(f"{text!r} is not a whole number from 0 to {MAX_METRICS_COMPONENTS}.")
    return int(text)


def _one_of(words: type[StrEnum]) -> BeforeValidator:
    def check(value: object) -> StrEnum:
        if value not in list(words):
            raise ValueError(f"{value!r} is not one of {', '.join(words)}.")
        return words(str(value))

    return BeforeValidator(check)


def _addresses(value: object) -> tuple[Address, ...]:
    if isinstance(value, Address):
        return (value,)
    words = value if isinstance(value, list | tuple) else str(value).split()
    addresses = tuple(each if isinstance(each, Address) else Address.parse(str(each)) for each in words)
    for number, address in enumerate(addresses):
        if address.port and address in addresses[:number]:
            raise ValueError(f"{address} is given twice.")
    return addresses


def _address(value: object) -> Address:
    return value if isinstance(value, Address) else Address.parse(str(value))


def _mode(value: object) -> int:
    text = str(value)
    if re.fullmatch("0?[0-7]{3}", text) is None or int(text, 8) & 0o600 != 0o600:
        raise ValueError(f"{text!r} is not a mode in octal digits that lets the owner in, such as 600 or 660.")
    return int(text, 8)


def _group(value: object) -> int:
    """A group's number, by its name or its number."""
    text = str(value)
    try:
        return int(text) if text.isascii() and text.isdecimal() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {text!r} on this machine.") from None


def _redis_url(value: object) -> RedisUrl:
    return value if isinstance(value, RedisUrl) else RedisUrl.parse(str(value))


def _prometheus_url(value: object) -> PrometheusUrl:
    return value if isinstance(value, PrometheusUrl) else PrometheusUrl.parse(str(value))


def _prometheus_headers(value: object) -> PrometheusHeaders:
    if isinstance(value, PrometheusHeaders):
        return value
    return PrometheusHeaders.parse(value if isinstance(value, list) else str(value).splitlines())


def _prometheus_timeout(value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = 0.0
    if not MIN_PROMETHEUS_TIMEOUT_S <= seconds <= MAX_PROMETHEUS_TIMEOUT_S:
        raise ValueError(
            f"{str(value)!r} is not a number of seconds from {MIN_PROMETHEUS_TIMEOUT_S:g} to {MAX_PROMETHEUS_TIMEOUT_S:g}."
        )
    return seconds


def _default_data_dir() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state") / "rampd"


Switch = Annotated[bool, BeforeValidator(_switch)]
AbsolutePath = Annotated[Path, BeforeValidator(_path)]


class Config(BaseSettings):
    """The server's settings, checked. `str()` and `repr()` show no secret. A field's description is its help text."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    redis_url: Annotated[RedisUrl | None, NoDecode, BeforeValidator(_redis_url)] = Field(
        default=None,
        description="the URL of your Redis (7.0 or later, noeviction): redis://, rediss:// or unix://, "
        "or of the Sentinels that know it: redis+sentinel://user:password@host:port,host:port/service/0, or of nodes of a Redis "
        "Cluster: redis+cluster://user:password@host:port,host:port (docs/store.md). "
        "Put a password into the variable, and not into the flag, because every user of this machine can see the flags. In a password "
        f"write %2F for /, %23 for #, %3F for ?, %40 for @. After a ? you may give {', '.join(OPTIONS)}. "
        "Without a URL, rampd keeps its data in a Valkey of its own, in the data directory",
    )
    data_dir: AbsolutePath = Field(
        default_factory=_default_data_dir,
        description="the directory for the socket, for the state that this server served last and, without a Redis URL, for "
        "the data (default: rampd in $XDG_STATE_HOME, otherwise ~/.local/state/rampd)",
    )
    listen: Annotated[tuple[Address, ...], NoDecode, BeforeValidator(_addresses)] = Field(
        default=(Address("127.0.0.1", 50051),),
        min_length=1,
        description="host:port; again for another one, and in the variable with spaces between. Port 0 takes a free one. "
        "https:// before it means TLS, http:// plain text; without either, an address beyond the loopback has TLS, and one "
        "on the loopback has it where --tls-cert is given and all addresses are on the loopback. An address beyond the "
        "loopback needs --access-file",
    )
    tls_cert: AbsolutePath | None = Field(
        default=None, description="the server's certificate, PEM, with those that signed it; read again when it changes"
    )
    tls_key: AbsolutePath | None = Field(default=None, description="the key of --tls-cert, PEM, without a password")
    tls_client_ca: AbsolutePath | None = Field(
        default=None,
        description="certificates, PEM, of those who sign the certificates of clients; with it each caller over TLS needs one",
    )
    insecure_plaintext: Switch = Field(
        default=False,
        description="serve addresses beyond the loopback without TLS, for a network that encrypts by itself",
    )
    access_file: AbsolutePath | None = Field(
        default=None,
        description="the file that says who may do what (docs/security.md); with it each caller over TCP needs credentials",
    )
    http: Annotated[Address | None, NoDecode, BeforeValidator(_address)] = Field(
        default=None,
        description="host:port for HTTP: JSON for any language, health and metrics (docs/http.md). The rules of --listen for "
        "TLS and the access file apply. Without it nothing is served over HTTP",
    )
    fast_listen: Annotated[Address | None, NoDecode, BeforeValidator(_address)] = Field(
        default=None,
        description="host:port for a second listener of the same gRPC API, which takes less processor time for a call "
        "(docs/operations.md). It needs the package h2corn. The rules of --listen for TLS and the access file apply",
    )
    metrics_components: Annotated[int, BeforeValidator(_metrics_components)] = Field(
        default=1_000,
        description="how many components have metrics of their own, the oldest ones. The others are summed, so that a "
        "Prometheus is not flooded",
    )
    socket: AbsolutePath = Field(
        default_factory=lambda values: values.get("data_dir", Path()) / "rampd.sock",
        description="the unix socket for reads and changes, open only to your own user (default: rampd.sock in the data "
        "directory)",
    )
    socket_mode: Annotated[int, BeforeValidator(_mode)] = Field(
        default=0o600, description="who may open --socket, in octal digits (default: 600)"
    )
    socket_group: Annotated[int, BeforeValidator(_group)] | None = Field(
        default=None, description="the group of --socket, by name or number; see --socket-mode"
    )
    launcher_socket: AbsolutePath | None = Field(
        default=None,
        description="a second unix socket, which serves what launchers need and nothing else, to every user who can reach its folder",
    )
    insecure_admin: Switch = Field(
        default=False,
        description="allow changes to everybody who reaches the TCP port",
    )
    workers: Annotated[int, BeforeValidator(_workers)] = Field(
        default=1,
        description="how many processes serve the port, more than 1 only on Linux. Give the number of cores that Resolve may use",
    )
    reflection: Switch = Field(default=True, description="describe the API to tools such as grpcurl")
    wait_for_store: Switch = Field(
        default=True,
        description="wait for Redis if it does not answer at the start; off: end with an error",
    )
    wait_replicas: Annotated[int, BeforeValidator(_wait_replicas)] = Field(
        default=0,
        description="how many replicas of your Redis a change waits for, half a second at most, so that its answer says how many "
        "have it (docs/store.md)",
    )
    namespace: Annotated[str, BeforeValidator(_namespace)] = Field(
        default="default",
        description="the part of the Redis that this server uses; servers with one namespace share all components",
    )
    prometheus_url: Annotated[PrometheusUrl | None, NoDecode, BeforeValidator(_prometheus_url)] = Field(
        default=None,
        description="the URL of the Prometheus that answers the checks of policies, such as http://prometheus:9090. "
        "Give a URL with a user and a password in the variable. Without a URL, every check is an error",
    )
    prometheus_timeout: Annotated[float, BeforeValidator(_prometheus_timeout)] = Field(
        default=5.0, description="the seconds within which Prometheus must answer"
    )
    prometheus_token_file: AbsolutePath | None = Field(
        default=None,
        description="a file with a bearer token for Prometheus. rampd reads it again for each question, so that a new token "
        "needs no restart",
    )
    prometheus_header: Annotated[PrometheusHeaders | None, NoDecode, BeforeValidator(_prometheus_headers)] = Field(
        default=None,
        description="a header for Prometheus, such as 'X-Scope-OrgID: team' for the tenant of Mimir or Cortex. Repeat the flag "
        "for more headers; in the variable write one header on each line. Give a secret in the variable",
    )
    log_format: Annotated[LogFormat, _one_of(LogFormat)] = Field(
        default=LogFormat.AUTO,
        description="auto, text or json; auto is text on a terminal and json elsewhere",
    )
    log_level: Annotated[LogLevel, _one_of(LogLevel)] = Field(
        default=LogLevel.INFO, description="debug, info, warning or error"
    )
    access_log: Switch = Field(
        default=False,
        description="log each call with its caller, over gRPC and HTTP (docs/observability/logs.md)",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        """Refuses an empty value. Most likely a script filled the variable from another one that is missing."""
        if value in ("", [""]):
            raise ValueError("it is empty: give a value, or leave it out.")
        return value

    @field_validator("prometheus_token_file", "prometheus_header")
    @classmethod
    def _goes_with_prometheus(cls, value: object, info: ValidationInfo) -> object:
        """Refuses a token or a header without a Prometheus URL, and a token beside a password. A wrong URL is reported
        only once, as the mistake of the URL.
        """
        if value is None or "prometheus_url" not in info.data:
            return value
        url = info.data["prometheus_url"]
        if url is None:
            raise ValueError("it needs --prometheus-url (RAMPD_PROMETHEUS_URL), which is missing.")
        if info.field_name == "prometheus_token_file" and url.credentials:
            raise ValueError("the URL of Prometheus has a user and a password; give either these or the token file.")
        return value


def read(arguments: Sequence[str]) -> tuple[Command, Config, frozenset[str]]:
    """Returns the command, the settings that the arguments and the environment give, and which of `OPTIONS_OF` are given.

    Ends the process with 0 for `--help` and `--version`. Raises StartupError with one sentence per mistake.
    """
    flags, commands, mistakes = _parse(arguments)
    options = frozenset(name for name in OPTIONS_OF if flags.pop(name, False))
    mistakes += _unknown_variables(os.environ)
    try:
        config = Config(**flags)
    except ValidationError as error:
        # A default that depends on a wrong field is not reported: the wrong field is.
        mistakes += [
            _sentence(details) for details in error.errors() if details["type"] != "default_factory_not_called"
        ]
    except RuntimeError:
        mistakes.append(f"{_names('data_dir')}: there is no home directory to put it in; give a directory.")
    command = commands[0] if commands else Command.SERVE
    if not mistakes:
        mistakes += _what_does_not_fit(config)
        mistakes += [
            f"{_flag(name)} is a flag of {OPTIONS_OF[name][0]}, and not of {command}."
            for name in sorted(options)
            if OPTIONS_OF[name][0] is not command
        ]
    if not mistakes and command is not Command.SERVE and not config.model_fields_set & {"redis_url", "data_dir"}:
        mistakes.append(
            f"{command} needs to know which store: give {_names('redis_url')}, or {_names('data_dir')} if rampd keeps its data in "
            "a Valkey of its own."
        )
    if mistakes:
        raise StartupError(*mistakes, "rampd-server --help lists the flags.")
    return command, config, options


def tls_of(config: Config) -> tuple[bool, ...]:
    """Which of the addresses of gRPC have TLS."""
    return tuple(_has_tls(address, config) for address in config.listen)


def http_has_tls(config: Config) -> bool:
    """Whether the address of HTTP has TLS."""
    return config.http is not None and _has_tls(config.http, config)


def fast_has_tls(config: Config) -> bool:
    """Whether the address of the fast listener has TLS."""
    return config.fast_listen is not None and _has_tls(config.fast_listen, config)


def _has_tls(address: Address, config: Config) -> bool:
    if address.is_tls is not None:
        return address.is_tls
    if address.is_loopback:
        return config.tls_cert is not None and all(each.is_loopback for _, each in _tcp_of(config))
    return not config.insecure_plaintext or config.tls_cert is not None


def _tcp_of(config: Config) -> list[tuple[str, Address]]:
    """All TCP addresses, each with the name of its setting."""
    others = (("http", config.http), ("fast_listen", config.fast_listen))
    return [
        *(("listen", address) for address in config.listen),
        *((name, address) for name, address in others if address is not None),
    ]


def _what_does_not_fit(config: Config) -> list[str]:
    """What is wrong with settings that go together."""
    mistakes = []
    if (config.tls_cert is None) != (config.tls_key is None):
        mistakes.append(f"{_names('tls_cert')} and {_names('tls_key')} go together: give both.")
    if config.tls_client_ca is not None and config.tls_cert is None:
        mistakes.append(f"{_names('tls_client_ca')} needs {_names('tls_cert')}.")
    if config.wait_replicas and config.redis_url is None:
        mistakes.append(
            f"{_names('wait_replicas')} needs {_names('redis_url')}: the Valkey that rampd starts has no replicas."
        )
    if config.access_file is not None and config.insecure_admin:
        mistakes.append(
            f"{_names('insecure_admin')} lets everybody in, and {_names('access_file')} says who gets in: leave one of them out."
        )
    if config.launcher_socket == config.socket:
        mistakes.append(f"{_names('launcher_socket')} is {_names('socket')}: give it a path of its own.")
    for number, (name, address) in enumerate(_tcp_of(config)):
        other = next((other for other, earlier in _tcp_of(config)[:number] if earlier == address), None)
        if name != "listen" and address.port and other is not None:
            mistakes.append(f"{_names(name)}: {address} is an address of {_names(other)}: give it a port of its own.")
        has_tls = _has_tls(address, config)
        if has_tls and config.tls_cert is None:
            mistakes.append(
                f"{_names(name)}: {address} needs TLS: give {_names('tls_cert')} and {_names('tls_key')}"
                + (
                    "."
                    if address.is_loopback
                    else f", or {_names('insecure_plaintext')} where the network encrypts by itself."
                )
            )
        if address.is_loopback:
            continue
        if not has_tls and not config.insecure_plaintext:
            mistakes.append(
                f"{_names(name)}: {address} is beyond the loopback, and http:// is plain text. Leave http:// out, or give "
                f"{_names('insecure_plaintext')} where the network encrypts by itself."
            )
        if config.access_file is None:
            mistakes.append(
                f"{_names(name)}: {address} is beyond the loopback, where everybody who reaches it could read every "
                f"rollout. Give {_names('access_file')} (`rampd-server token create NAME --role ROLE --access-file FILE` makes one)."
            )
    return mistakes


def _parse(arguments: Sequence[str]) -> tuple[dict[str, Any], list[Command], list[str]]:
    try:
        found, rest = _parser().parse_known_args(arguments)
    except _UsageError as error:
        return {}, [], [f"{error}."]
    words = [word for word in rest if not word.startswith("-")]
    mistakes = [_unknown_flag(word) for word in rest if word.startswith("-")]
    if not mistakes:  # what follows an unknown flag may be its value
        mistakes = [_unknown_command(word) for word in words if word not in list(Command)]
    if not mistakes and len(words) > 1:
        mistakes = [f"Give one command, not several: {' '.join(words)}."]
    return vars(found), [Command(word) for word in words if word in list(Command)], mistakes


class _UsageError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rampd-server",
        usage="rampd-server [serve | adopt | export | import | upgrade] [flags]\n       rampd-server token create | list | revoke ...\n       rampd-server access check FILE",
        description="Version rollouts for jobs. serve (the default) runs the server. If your Redis was emptied or replaced, the "
        "servers write nothing more: adopt tells them to go on with the data that it has now. export writes the data of a namespace to standard output, and import "
        "reads them from standard input into an empty namespace (docs/backup.md). upgrade raises the schema of the data once all servers are updated (docs/upgrade.md). These four need --redis-url or --data-dir. token makes, lists and revokes tokens, and access check looks at an access file. The name in brackets is the environment variable of a flag.",
        epilog="If both a flag and its variable are given, the flag counts. A value must not be empty. A server with another "
        f"variable that begins with {_PREFIX} does not start, so that a mistyped name is found. Variables of rampd's clients "
        "and of Kubernetes are allowed.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
    )
    for name, field in Config.model_fields.items():
        text = f"{field.description} [{_PREFIX}{name.upper()}]".replace("%", "%%")
        default = field.get_default(call_default_factory=False)
        if isinstance(default, bool):
            text = f"{text} (default: {'on' if default else 'off'})"
            parser.add_argument(_flag(name), action=argparse.BooleanOptionalAction, help=text)
            continue
        if name in _REPEATED:
            parser.add_argument(_flag(name), metavar=name.rpartition("_")[2].upper(), action="append", help=text)
            continue
        if field.default_factory is None and default is not None and "(default: " not in text:
            text = f"{text} (default: {default})"
        parser.add_argument(_flag(name), metavar=name.rpartition("_")[2].upper(), help=text)
    for name, (command, description) in OPTIONS_OF.items():
        parser.add_argument(_flag(name), action="store_true", help=f"{command}: {description}")
    parser.add_argument(
        "--version", action="version", version=f"rampd {metadata.version('rampd')}", help="show the version and exit"
    )
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _names(name: str) -> str:
    return f"{_flag(name)} ({_PREFIX}{name.upper()})"


def _unknown_flag(word: str) -> str:
    flag = word.partition("=")[0]
    return f"There is no flag {flag}{_did_you_mean(flag, map(_flag, (*Config.model_fields, *OPTIONS_OF)))}"


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    mistakes = []
    for variable in sorted(environment):
        name = variable.upper().removeprefix(_PREFIX)
        if name == variable.upper() or name in _OF_OTHERS or name.lower() in Config.model_fields:
            continue
        if _OF_KUBERNETES.fullmatch(f"{name}={environment[variable]}"):
            continue
        # Compared without the prefix, because the prefix would make all names similar.
        near = _did_you_mean(name, map(str.upper, Config.model_fields), _PREFIX)
        mistakes.append(f"There is no variable {variable}{near}")
    return mistakes


def _did_you_mean(word: str, words: Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else "."


def _unknown_command(word: str) -> str:
    # A URL whose flag was forgotten is not shown, because it may have a password.
    return f"There is no command {'like that' if '://' in word else repr(word)}: {', '.join(list(Command)[:-1])} or {list(Command)[-1]}."


def _sentence(details: ErrorDetails) -> str:
    reason = details.get("ctx", {}).get("error", details["msg"])
    return f"{_names(str(details['loc'][0]))}: {reason}"
