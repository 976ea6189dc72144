"""Checks of the way to a server: its address, and TLS."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from rampd_cli.diagnosis.address import Address, Kind
from rampd_cli.diagnosis.facts import Certificate, Facts, Knock, Speaks, Trust
from rampd_cli.diagnosis.finding import Finding, ok, problem, warning

SOON: Final = timedelta(days=14)
"""What ends earlier than this should be renewed."""
_REACH, _TLS = "reach", "tls"
_OF_MAKE: Final = ".rampd"
"""The folder that `make run` makes."""


def reach(facts: Facts) -> Finding:
    """Whether a server answers at the address."""
    address = facts.address
    where = f"{address.text} ({facts.why})"
    if facts.is_reached:
        took = f" in {facts.answer.round_trip_s * 1000:.0f} ms" if facts.answer is not None else ""
        return ok(_REACH, f"{where} answers{took}.")
    if facts.wrong is not None and _field(facts) == "target":
        return problem(
            _REACH,
            f"{where} is not an address of a server.",
            "Write HOST:PORT, https://HOST:PORT for TLS, or unix:PATH for a unix socket.",
        )
    if facts.knock not in {Knock.OPEN, Knock.NOT_TRIED}:
        return problem(_REACH, _what_is_wrong(facts, where), _what_to_do(facts))
    if facts.wrong is not None:
        what = "takes connections, but it was not called" if facts.knock is Knock.OPEN else "was not called"
        return problem(
            _REACH, f"{where} {what}: see below.", f"Correct what is below, then type: {facts.command('doctor')}"
        )
    if tls(facts) is not None:
        return problem(_REACH, f"{where} takes connections, but no call works: see `tls`.", "Correct `tls` first.")
    said = "" if facts.caller_error is None else f" {facts.caller_error.message}"
    return problem(
        _REACH,
        f"{where} takes connections, but no server of rampd answers.{said}",
        "Look which program listens there. rampd-server prints its addresses when it starts; this is not the port of --http.",
    )


def _what_is_wrong(facts: Facts, where: str) -> str:
    address = facts.address
    match facts.knock:
        case Knock.UNKNOWN_HOST:
            return f"There is no host {address.host} ({facts.why}): {facts.knock_detail}."
        case Knock.REFUSED if facts.is_unnamed:
            before = f" One has run here: its data are in {' and '.join(facts.data)}." if facts.data else ""
            return f"No server was named, and none runs on this machine.{before}"
        case Knock.REFUSED:
            return f"Nothing listens at {where}."
        case Knock.SILENT:
            return f"{where} does not answer: {facts.knock_detail}."
        case Knock.NO_SOCKET:
            return f"There is no socket {address.path} ({facts.why})."
        case Knock.FORBIDDEN:
            return f"This user may not open the socket {address.path} ({facts.why})."
        case _:
            return f"{where} can't be reached: {facts.knock_detail}."


def _start_again(data: Sequence[str]) -> str:
    """How to start a server that is stopped. `data`: the folders that servers have made here."""
    ways = [f"make run, in {Path(each).parent}" for each in data if Path(each).name == _OF_MAKE]
    if len(ways) < len(data) or not data:
        ways.append("systemctl status rampd, or ask who set it up")
    return (
        f"If a server should run there, start that one, as it was started before. How: {'; otherwise '.join(ways)}. "
        "Any other way of starting one may give you another server, without your components."
    )


def _what_to_do(facts: Facts) -> str:
    address = facts.address
    match facts.knock:
        case Knock.UNKNOWN_HOST:
            return "Correct the name. If it is right, look at the DNS of this machine: getent hosts " + address.host
        case Knock.REFUSED if facts.is_unnamed and not facts.data:
            return "Name a server: export RAMPD_SERVER=HOST:PORT. If there is none yet, start one here: rampd-server"
        case Knock.REFUSED | Knock.NO_SOCKET if address.is_local:
            return f"{_start_again(facts.data)} To ask another server: {facts.command('doctor', server='HOST:PORT')}"
        case Knock.FORBIDDEN:
            return (
                "Type the command as the user of the server, or let a group open the socket: rampd-server --socket-mode 660 "
                "--socket-group GROUP"
            )
        case Knock.REFUSED:
            return (
                f"On {address.host}, look whether rampd-server runs, and whether its --listen has an address that other "
                f"machines reach: ss -ltn | grep {address.port}"
            )
        case _:
            return f"Look for a firewall, and for the route to {address.host}."


def tls(facts: Facts) -> Finding | None:
    """Whether the connection is encrypted, and to the right server. None: there is nothing to say."""
    address = facts.address
    if facts.wrong is not None and _field(facts) == "ca_file":
        return problem(
            _TLS, facts.wrong.message, "Correct RAMPD_CA_FILE, or the ca_file of the profile: it needs a PEM file."
        )
    if address.kind is not Kind.TCP:
        return None
    return _with_tls(facts, address) if address.is_tls else _without_tls(facts, address)


def _without_tls(facts: Facts, address: Address) -> Finding | None:
    if facts.speaks is Speaks.TLS and not facts.is_reached:
        return problem(
            _TLS,
            "The port speaks TLS, and the address asks for a connection without TLS.",
            f"Write https://: {facts.command('doctor', server=f'https://{address.place}')}",
        )
    if not facts.is_reached:
        return None
    if address.is_local:
        return ok(_TLS, "No TLS, and none is needed: the connection stays on this machine.")
    return warning(
        _TLS,
        "No TLS: whoever is on the way can read and change what is sent. No token is sent over this connection.",
        "Give the server a certificate (rampd-server --tls-cert FILE --tls-key FILE), then type: "
        f"{facts.command('doctor', server=f'https://{address.place}')}",
    )


def _with_tls(facts: Facts, address: Address) -> Finding | None:
    certificate = facts.certificate
    if facts.is_reached:
        return _served(facts, certificate)
    if facts.speaks is Speaks.PLAIN:
        return problem(
            _TLS,
            "The port does not speak TLS, and the address asks for TLS.",
            f"Leave https:// out: {facts.command('doctor', server=address.place)}. Or give the server a certificate: "
            "rampd-server --tls-cert FILE --tls-key FILE",
        )
    if certificate is None or facts.wrong is not None:
        return None
    match certificate.trust:
        case Trust.OTHER_NAME:
            names = ", ".join(certificate.names) or "no name"
            name = next((name for name in certificate.names if "*" not in name), "NAME")
            other = f"https://{_joined(name, address.port)}"
            return problem(
                _TLS,
                f"The certificate of the server is for {names}, and not for {address.host}.",
                f"Use a name of the certificate: {facts.command('doctor', server=other)}. Or give the server a certificate "
                f"for {address.host}.",
            )
        case Trust.ENDED:
            end = "" if certificate.end is None else f" on {certificate.end:%Y-%m-%d}"
            return problem(_TLS, f"The certificate of the server has ended{end}.", _RENEW)
        case Trust.NOT_YET:
            return problem(
                _TLS,
                "The certificate of the server is not valid yet.",
                "Compare the clocks of this machine and of the one that made the certificate: date -u",
            )
        case Trust.UNTRUSTED:
            return problem(
                _TLS,
                f"No authority that this machine trusts has signed the certificate of the server. Its issuer is "
                f"{certificate.issuer or 'not known'}.",
                "Get the certificate of that authority from the server's admin, then type: export RAMPD_CA_FILE=FILE",
            )
    said = "" if facts.caller_error is None else f" {facts.caller_error.message.partition(' gRPC says:')[0]}"
    return problem(
        _TLS,
        f"This machine trusts the certificate of the server, but no call works.{said}",
        "If the server asks for certificates of clients (--tls-client-ca), give yours: export RAMPD_CERT_FILE=FILE "
        "RAMPD_KEY_FILE=FILE. If the authority is known to this system only, name it: export RAMPD_CA_FILE=FILE",
    )


def _served(facts: Facts, certificate: Certificate | None) -> Finding:
    if certificate is None or certificate.end is None:
        return ok(_TLS, "The connection has TLS. When the certificate of the server ends is not known.")
    left = certificate.end - facts.now
    until = f"{certificate.end:%Y-%m-%d %H:%M} UTC"
    if left < SOON:
        return warning(_TLS, f"The certificate of the server ends in {days(left)}, on {until}.", _RENEW)
    return ok(_TLS, f"The connection has TLS. The certificate of the server is valid until {until}.")


_RENEW: Final = (
    "The server's admin has to renew the files of --tls-cert and --tls-key. The server reads them again by itself."
)


def days(left: timedelta) -> str:
    """Returns `3 days` or `5 h`, rounded down."""
    if left < timedelta(days=1):
        return f"{max(0, left // timedelta(hours=1))} h"
    return f"{left.days} day{'s' * (left.days != 1)}"


def _joined(name: str, port: int) -> str:
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _field(facts: Facts) -> str:
    """The first field that the client refuses."""
    violations = getattr(facts.wrong, "violations", ())
    return violations[0][0] if violations else ""
