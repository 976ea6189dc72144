"""Makes certificates with openssl, for a store that speaks TLS."""

import subprocess
from pathlib import Path

from tests.servers import require


def make_certificate(directory: Path, name: str = "localhost", *, days: int = 2) -> tuple[Path, Path]:
    """Makes a self-signed certificate for one name. Returns the paths of the certificate and of its key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        [
            *(require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days)),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
            *("-out", str(certificate), "-keyout", str(key)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
