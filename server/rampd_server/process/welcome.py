"""The text that a person sees after starting a server: what to type next."""

import os
import shlex
from urllib.parse import quote

from rampd_server.process.address import Address
from rampd_server.process.config import Config

_RELEASE = '{"component": "restyler", "tag": "20200301"}'
_RESOLVE = '{"component": "restyler", "repo": "acme/app"}'


def welcome(config: Config, address: Address, http: Address | None = None) -> str:
    """Says where the server listens, who may do what there, and which commands to try first."""
    also = "" if http is None else f"For HTTP it listens on {_url(http)}. "
    lines = [f"rampd listens on {address} and on the unix socket {config.socket}.", f"{also}{_who(config)}"]
    if config.reflection:
        tcp = _over_tcp(config, address)
        admin = tcp if config.insecure_admin else ("-plaintext", f"unix://{quote(os.fsencode(config.socket))}")
        lines += [
            "Try:",
            _grpcurl(admin, "rampd.v1.ReleaseService/Release", _RELEASE),
            _grpcurl(tcp, "rampd.v1.ResolverService/Resolve", _RESOLVE),
            _grpcurl(tcp, "describe rampd.v1.RolloutService"),
        ]
    lines.append("Ctrl-C stops the server. Its data is kept.")
    return "\n".join(lines)


def _who(config: Config) -> str:
    if config.access_file is not None:
        return (
            f"A caller over TCP needs a token or a certificate that {config.access_file} grants; the socket serves its owner "
            "without."
        )
    if config.insecure_admin:
        return "--insecure-admin is on: everybody who reaches the port, which is every user of this machine, may change rollouts."
    return "The port serves Resolve and reads; what changes rollouts goes through the socket."


def _over_tcp(config: Config, address: Address) -> tuple[str, str]:
    """Flags of grpcurl, and the place."""
    flags = f"-cacert {shlex.quote(str(config.tls_cert))}" if address.is_tls else "-plaintext"
    if config.access_file is not None:
        flags += ' -H "authorization: Bearer $RAMPD_TOKEN"'
    return flags, shlex.quote(_place(address))


def _place(address: Address) -> str:
    # No certificate has the name of every address.
    return f"localhost:{address.port}" if address.host in {"0.0.0.0", "::"} else str(address)  # noqa: S104 - it compares


def _url(address: Address) -> str:
    return f"{'https' if address.is_tls else 'http'}://{_place(address)}"


def _grpcurl(where: tuple[str, str], method: str, request: str = "") -> str:
    flags, place = where
    data = f"-d {shlex.quote(request)} " if request else ""
    return f"  grpcurl {flags} {data}{place} {method}"
