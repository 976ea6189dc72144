"""The text that a person sees after starting a server: what to type next."""

import os
import shlex
import sys
from pathlib import Path
from urllib.parse import quote

from cryptography import x509

from rampd_server.process.address import Address
from rampd_server.process.config import Config
from rampd_server.process.regular_file import content_of

_RELEASE = '{"component": "restyler", "tag": "20200301"}'
_MAX_BYTES = 4 << 20
_RESOLVE = '{"component": "restyler", "repo": "acme/app"}'


def welcome(config: Config, address: Address, http: Address | None = None, fast: Address | None = None) -> str:
    """Says where the server listens, who may do what there, and which commands to try first."""
    also = "" if http is None else f"For HTTP it listens on {_url(config, http)}. "
    also += "" if fast is None else f"Its fast listener for the same calls is {_place(config, fast)}. "
    lines = [f"rampd listens on {address} and on the unix socket {config.socket}.", f"{also}{_who(config)}"]
    tried = _rampd(config)
    if config.reflection:
        tcp = _over_tcp(config, address)
        admin = tcp if config.insecure_admin else ("-plaintext", f"unix://{quote(os.fsencode(config.socket))}")
        tried += [
            _grpcurl(admin, "rampd.v1.ReleaseService/Release", _RELEASE),
            _grpcurl(tcp, "rampd.v1.ResolverService/Resolve", _RESOLVE),
            _grpcurl(tcp, "describe rampd.v1.RolloutService"),
        ]
    if http is not None:
        tried.append(_curl(config, http))
    lines += ["Try:", *tried] if tried else []
    lines.append("Ctrl-C stops the server. Its data is kept.")
    return "\n".join(lines)


def _rampd(config: Config) -> list[str]:
    """The command line, by its path if it is installed beside this server: not every shell has that folder in its PATH."""
    program = Path(sys.executable).with_name("rampd")
    if not program.exists():
        return []
    return [f"  {shlex.quote(str(program))} --server {shlex.quote(f'unix:{config.socket}')} status"]


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
        # grpcurl reads the variable itself, so that the token is not in the list of processes.
        flags += " -expand-headers -H 'authorization: Bearer ${RAMPD_TOKEN}'"
    return flags, shlex.quote(_place(config, address))


def _place(config: Config, address: Address) -> str:
    host = "localhost" if address.host in {"0.0.0.0", "::"} else address.host  # noqa: S104 - it compares
    if address.is_tls and config.tls_cert is not None:
        host = _name_for(host, config.tls_cert)
    return str(Address(host, address.port))


def _name_for(host: str, certificate: Path) -> str:
    """The host if the certificate is for it; otherwise the first name that the certificate has, and that can be typed."""
    try:
        found = x509.load_pem_x509_certificate(content_of(certificate, max_bytes=_MAX_BYTES))
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return host
    hosts = [name for name in names.get_values_for_type(x509.DNSName) if "*" not in name]
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return host if host in {*hosts, *addresses} else next(iter(hosts), host)


def _url(config: Config, address: Address) -> str:
    return f"{'https' if address.is_tls else 'http'}://{_place(config, address)}"


def _curl(config: Config, address: Address) -> str:
    # `echo` is a part of the shell, so the token is not in the list of processes.
    proof = 'echo "authorization: Bearer $RAMPD_TOKEN" | ' if config.access_file is not None else ""
    flags = "-H @- " if proof else ""
    if address.is_tls:
        flags += f"--cacert {shlex.quote(str(config.tls_cert))} "
    url = shlex.quote(f"{_url(config, address)}/rampd.v1.ResolverService/Resolve")
    return f"  {proof}curl -sS {flags}-H 'content-type: application/json' -d {shlex.quote(_RESOLVE)} {url}"


def _grpcurl(where: tuple[str, str], method: str, request: str = "") -> str:
    flags, place = where
    data = f"-d {shlex.quote(request)} " if request else ""
    return f"  grpcurl {flags} {data}{place} {method}"
