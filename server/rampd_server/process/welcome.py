"""The text that a person sees after starting a server: what to type next."""

import os
import shlex
from urllib.parse import quote

from rampd_server.process.address import Address
from rampd_server.process.config import Config


def welcome(config: Config, address: Address) -> str:
    """Says where the server listens, who may do what there, and which commands to try first."""
    reads = shlex.quote(str(address))
    admin = reads if config.insecure_admin else f"unix://{quote(os.fsencode(config.socket))}"
    lines = [f"rampd listens on {address} and on the unix socket {config.socket}."]
    if config.insecure_admin:
        lines.append(
            "--insecure-admin is on: everybody who reaches the port may change rollouts, that is every user of this machine."
        )
    else:
        lines.append("The port serves Resolve and reads. Use the socket for changes.")
    if config.reflection:
        lines += [
            "Try:",
            f"""  grpcurl -plaintext -d '{{"component": "restyler", "tag": "20200301"}}' {admin} rampd.v1.ReleaseService/Release""",
            f"""  grpcurl -plaintext -d '{{"component": "restyler", "repo": "acme/app"}}' {reads} rampd.v1.ResolverService/Resolve""",
            f"  grpcurl -plaintext {reads} describe rampd.v1.RolloutService",
        ]
    lines.append("Ctrl-C stops the server. Its data is kept.")
    return "\n".join(lines)
