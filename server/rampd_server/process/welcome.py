"""What a person sees who starts a server on a terminal: what to type next."""

import os
import shlex
from urllib.parse import quote

from rampd_server.process.address import Address
from rampd_server.process.config import Config


def welcome(config: Config, address: Address) -> str:
    """Where the server listens, who may do what there, and first commands to try."""
    reads = shlex.quote(str(address))
    admin = reads if config.insecure_admin else f"unix://{quote(os.fsencode(config.socket))}"
    lines = [f"rampd listens on {address} and on the unix socket {config.socket}."]
    if config.insecure_admin:
        lines.append(
            "--insecure-admin is on: everybody who reaches the port, which is every user of this machine, may change "
            "rollouts."
        )
    else:
        lines.append("The port serves Resolve and reads; what changes rollouts goes through the socket.")
    if config.reflection:
        lines += [
            "Try:",
            f"""  grpcurl -plaintext -d '{{"component": "restyler", "tag": "20200301"}}' {admin} rampd.v1.ReleaseService/Release""",
            f"""  grpcurl -plaintext -d '{{"component": "restyler", "repo": "acme/app"}}' {reads} rampd.v1.ResolverService/Resolve""",
            f"  grpcurl -plaintext {reads} describe rampd.v1.RolloutService",
        ]
    lines.append("Ctrl-C stops it; what it knows is kept.")
    return "\n".join(lines)
