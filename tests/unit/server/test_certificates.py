"""The certificate of a server: what was checked is what is used, over gRPC and over HTTP."""

import contextlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from rampd_server.process.startup import StartupError
from rampd_server.rpc import certificates
from rampd_server.rpc.certificates import Certificates, named
from tests.authority import Authority, Pair


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def served(
    server: ssl.SSLContext, authority: Authority, pair: Pair | None = None, directory: Path | None = None
) -> int:
    """The serial number of the certificate that a handshake shows. Raises ssl.SSLError on either side."""
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    if pair is not None and directory is not None:
        client.load_cert_chain(*pair.write(directory, "client"))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there, server_hostname="localhost"), server.wrap_bio(there, back, server_side=True)]
    for _ in range(3):
        for each in ends:
            try:
                each.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = ends[0].getpeercert(binary_form=True)
    assert found is not None
    assert ends[1].version() is not None
    return x509.load_der_x509_certificate(found).serial_number


def replaced_by_pipes(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()
        os.mkfifo(path)


def replaced_by_others(paths: list[Path]) -> None:
    other = Authority("another one")
    other.issue("localhost").write(paths[0].parent, "server")
    other.write(paths[0].parent)


@pytest.mark.parametrize("replace", [replaced_by_pipes, replaced_by_others])
def test_what_was_read_and_checked_is_used_also_if_the_files_change_meanwhile(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, replace: Callable[[list[Path]], None]
) -> None:
    pair = authority.issue("localhost")
    paths = [*pair.write(tmp_path, "server"), authority.write(tmp_path)]
    content_of, left = certificates.content_of, len(paths)

    def read(path: Path, *, max_bytes: int) -> bytes:
        nonlocal left
        content = content_of(path, max_bytes=max_bytes)
        left -= 1
        if not left:
            replace(paths)
        return content

    monkeypatch.setattr(certificates, "content_of", read)
    context = Certificates(*paths)._tls
    assert served(context, authority, authority.issue("client.example"), tmp_path) == pair.serial
    with pytest.raises(ssl.SSLError):
        served(context, authority)
    with pytest.raises(ssl.SSLError):
        served(context, authority, Authority("another one").issue("client.example"), tmp_path)


def test_no_descriptor_and_no_file_is_left(tmp_path: Path, authority: Authority) -> None:
    paths = authority.issue("localhost").write(tmp_path, "server")
    before = len([*Path("/dev/fd").iterdir()])
    for _ in range(20):
        Certificates(*paths)
    assert len([*Path("/dev/fd").iterdir()]) <= before + 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["server.key", "server.pem"]


def test_a_new_certificate_is_used_over_http_from_the_next_handshake_on(tmp_path: Path, authority: Authority) -> None:
    first, second = authority.issue("localhost"), authority.issue("localhost")
    found = Certificates(*first.write(tmp_path, "server"))
    assert served(found.context(), authority) == first.serial
    (tmp_path / "server.pem").write_bytes(second.certificate)
    assert served(found.context(), authority) == first.serial
    assert found.reloads.is_refused
    (tmp_path / "server.key").write_bytes(second.key)
    assert served(found.context(), authority) == second.serial
    assert not found.reloads.is_refused
    assert dict(found.reloads.items()) == {("refused",): 1, ("used",): 1}


def greeted(server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLObject:
    """The client's end of a connection that begins and ends in order. Raises ssl.SSLError on either side."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname="localhost", session=session),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(3):
        for each in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                each.do_handshake()
    for each in (*ends, *ends):
        with contextlib.suppress(ssl.SSLWantReadError):
            each.unwrap()
    return ends[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_goes_on_with_a_certificate_that_is_no_longer_trusted(
    tmp_path: Path, authority: Authority, version: ssl.TLSVersion
) -> None:
    """Given a client with an open session, expect it to be refused after its authority was taken out of the files."""
    found = Certificates(*authority.issue("localhost").write(tmp_path, "server"), authority.write(tmp_path))
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    client.minimum_version = client.maximum_version = version
    client.load_cert_chain(*authority.issue("client.example").write(tmp_path, "client"))
    session = greeted(found.context(), client).session
    assert greeted(found.context(), client, session).session_reused == (version is ssl.TLSVersion.TLSv1_2)
    Authority("another one").write(tmp_path)
    with pytest.raises(ssl.SSLError):
        greeted(found.context(), client, session)


def test_a_look_notices_a_broken_file_without_a_handshake(tmp_path: Path, authority: Authority) -> None:
    found = Certificates(*authority.issue("localhost").write(tmp_path, "server"))
    (tmp_path / "server.pem").unlink()
    assert not found.reloads.is_refused
    found.look()
    assert found.reloads.is_refused


BROKEN: dict[str, tuple[str, Callable[[Path, Authority], object]]] = {
    "garbage": ("server.pem is not a certificate", lambda d, _: (d / "server.pem").write_text("hello")),
    "gone": ("server.key can't be read: No such file", lambda d, _: (d / "server.key").unlink()),
    "a pipe": ("server.key can't be read: it is not a file", lambda d, _: replaced_by_pipes([d / "server.key"])),
    "a folder": ("ca.pem can't be read", lambda d, _: ((d / "ca.pem").unlink(), (d / "ca.pem").mkdir())),
    "no authority": ("ca.pem has no certificate", lambda d, _: (d / "ca.pem").write_text("")),
    "of another key": ("is not the key of", lambda d, a: (d / "server.pem").write_bytes(a.issue("x").certificate)),
    "Ed25519": (
        "neither an RSA key nor",
        lambda d, a: a.issue("localhost", key=ed25519.Ed25519PrivateKey.generate()).write(d, "server"),
    ),
    "a weak key, which only OpenSSL refuses": (
        "can't be used with",
        lambda d, a: a.issue("localhost", key=rsa.generate_private_key(65537, 1024)).write(d, "server"),
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_at_the_start_is_named(tmp_path: Path, authority: Authority, how: str) -> None:
    expected, damage = BROKEN[how]
    paths = [*authority.issue("localhost").write(tmp_path, "server"), authority.write(tmp_path)]
    damage(tmp_path, authority)
    with pytest.raises(StartupError) as caught:
        Certificates(*paths)
    assert expected in str(caught.value)
    assert str(caught.value).startswith("--tls-cert, --tls-key, --tls-client-ca: ")


def test_a_server_that_reads_files_gets_what_was_checked_and_another_object_after_a_change(
    tmp_path: Path, authority: Authority
) -> None:
    paths = [*authority.issue("localhost").write(tmp_path, "server"), authority.write(tmp_path)]
    served = Certificates(*paths)
    first = served.content()
    assert served.content() is first
    assert [*first] == [path.read_bytes() for path in paths]
    with named(first) as files:
        for path in paths:
            path.unlink()
        assert [path.read_bytes() for path in files if path is not None] == [*first]
    assert served.content() is first, "the files are missing, so the earlier ones stay in use"
    other = authority.issue("localhost")
    other.write(tmp_path, "server")
    authority.write(tmp_path)
    assert served.content() == (other.certificate, other.key, authority.certificate)
    with named(Certificates(*other.write(tmp_path, "server")).content()) as files:
        assert files.client_ca is None
