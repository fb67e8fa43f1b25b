import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from darkroom.serving.errors import Code, ServingError
from darkroom.serving.protocols.access import Administrators, Keys, tls_context
from darkroom.serving.server.server_config import SSLConfig


class Pair(NamedTuple):
    key: str
    cert: str
    private: ec.EllipticCurvePrivateKey


def pair(name: str, signer: ec.EllipticCurvePrivateKey | None = None) -> Pair:
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca" if signer else name)])
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(signer or private, hashes.SHA256())
    )
    return Pair(pem(private), cert.public_bytes(serialization.Encoding.PEM).decode(), private)


def pem(private: ec.EllipticCurvePrivateKey, password: bytes = b"") -> str:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    ).decode()


CA = pair("ca")
SERVER = pair("localhost", CA.private)
CLIENT = pair("client", CA.private)


def keys(folder: Path, text: str, encoding: str = "utf-8") -> Keys:
    file = folder / "keys"
    file.write_text(text, encoding=encoding)
    return Keys(str(file))


def accepts(wanted: Keys, headers: Mapping[str, str]) -> bool:
    try:
        wanted.check(headers.get)
    except ServingError:
        return False
    return True


def test_who_has_no_key_is_told_how_to_send_one(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="'authorization: Bearer KEY' or 'x-api-key") as raised:
        keys(tmp_path, "first").check({}.get)
    assert raised.value.code is Code.UNAUTHENTICATED


def test_without_a_file_everybody_is_accepted() -> None:
    assert accepts(Keys(), {})
    assert accepts(Keys(), {"x-api-key": "any"})


def test_a_key_of_the_file_is_wanted(tmp_path: Path) -> None:
    wanted = keys(tmp_path, "# of the shop\r\nfirst\r\n\n  second  \n  # third\n")
    for key in ("first", "second", " first "):
        assert accepts(wanted, {"x-api-key": key})
        assert accepts(wanted, {"authorization": f"Bearer {key}"})
        assert accepts(wanted, {"authorization": f"bearer  {key}"})
    for key in ("", "firs", "First", "first second", "third", "# third", "# of the shop", "\udcff"):
        assert not accepts(wanted, {"x-api-key": key})
        assert not accepts(wanted, {"authorization": f"Bearer {key}"})
    for headers in ({}, {"authorization": "first"}, {"authorization": "Basic first"}):
        assert not accepts(wanted, headers)


def test_a_file_of_a_windows_editor(tmp_path: Path) -> None:
    assert accepts(keys(tmp_path, "first\r\n", "utf-8-sig"), {"x-api-key": "first"})


@given(st.text(), st.text())
def test_no_header_is_an_accident(
    tmp_path_factory: pytest.TempPathFactory, one: str, two: str
) -> None:
    wanted = keys(tmp_path_factory.getbasetemp(), "0123456789abcdef\n")
    assert not accepts(wanted, {"x-api-key": one, "authorization": two})
    assert not accepts(wanted, {"authorization": f"Bearer {two}"})


@pytest.mark.parametrize("text", ["", "\n \n", "# only\n"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ServingError, match="has no key; expected one on each line"):
        keys(tmp_path, text)


def test_a_key_that_no_client_could_send_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="keys, line 3: expected a key of ASCII characters"):
        keys(tmp_path, "first\n# clé\nclé\n")


@pytest.mark.parametrize(
    ("has_keys", "has_admin_keys", "host", "sent", "code"),
    [
        (False, False, "localhost", "", None),
        (False, False, "0.0.0.0", "", Code.PERMISSION_DENIED),
        (True, False, "localhost", "client", Code.PERMISSION_DENIED),
        (True, True, "0.0.0.0", "client", Code.UNAUTHENTICATED),
        (True, True, "0.0.0.0", "admin", None),
        (False, True, "localhost", "", Code.UNAUTHENTICATED),
        (False, True, "localhost", "admin", None),
    ],
)
def test_who_may_change_what_is_served(
    tmp_path: Path, has_keys: bool, has_admin_keys: bool, host: str, sent: str, code: Code | None
) -> None:
    of_clients = keys(tmp_path, "client\n") if has_keys else Keys()
    of_admins = keys(tmp_path, "admin\n") if has_admin_keys else Keys()
    admins = Administrators(of_clients, of_admins, host)
    try:
        admins.check({"x-api-key": sent}.get)
        raised = None
    except ServingError as error:
        raised = error.code
    assert raised is code


def test_a_file_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ServingError, match=f"--api_key_file {path} can't be read"):
            Keys(str(path))
    with pytest.raises(ServingError, match="can't be read"):
        keys(tmp_path, "clé", "latin-1")


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """Over a real connection; returns the TLS version, None where a side refuses."""
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    theirs.settimeout(30)

    def serve() -> None:
        with ours:
            try:
                with server.wrap_socket(ours, server_side=True) as connection:
                    connection.sendall(b"hello")
            except OSError:
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with theirs, client.wrap_socket(theirs, server_hostname="127.0.0.1") as connection:
            return connection.version() if connection.recv(5) == b"hello" else None
    except OSError:
        return None
    finally:
        theirs.close()
        thread.join()


def client_context(cert: Pair | None = None, folder: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.cert)
    if cert is not None and folder is not None:
        file = folder / "client.pem"
        file.write_text(cert.key + cert.cert)
        context.load_cert_chain(file)
    return context


def test_a_client_that_knows_the_authority_connects() -> None:
    server = tls_context(SSLConfig(server_key=SERVER.key, server_cert=SERVER.cert))
    assert shake_hands(server, client_context()) == "TLSv1.3"
    assert shake_hands(server, ssl.create_default_context()) is None


def test_old_versions_of_tls_are_refused() -> None:
    server = tls_context(SSLConfig(server_key=SERVER.key, server_cert=SERVER.cert))
    assert server.minimum_version is ssl.TLSVersion.TLSv1_2


def test_clients_show_a_certificate_where_that_is_wanted(tmp_path: Path) -> None:
    server = tls_context(
        SSLConfig(
            server_key=SERVER.key, server_cert=SERVER.cert, custom_ca=CA.cert, client_verify=True
        )
    )
    assert shake_hands(server, client_context()) is None
    assert shake_hands(server, client_context(pair("other"), tmp_path)) is None
    assert shake_hands(server, client_context(CLIENT, tmp_path)) == "TLSv1.3"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"server_key": SERVER.key},
        {"server_key": CLIENT.key, "server_cert": SERVER.cert},
        {"server_key": "nonsense", "server_cert": "é"},
        {"server_key": pem(SERVER.private, b"secret"), "server_cert": SERVER.cert},
        {"server_key": SERVER.key, "server_cert": SERVER.cert, "custom_ca": "nonsense"},
        {"server_key": SERVER.key, "server_cert": SERVER.cert, "custom_ca": "é"},
    ],
)
def test_keys_and_certificates_that_do_not_fit_are_said(config: dict[str, str]) -> None:
    with pytest.raises(ServingError, match="--ssl_config_file: server_key") as raised:
        tls_context(SSLConfig(**config))
    assert raised.value.code is Code.INVALID_ARGUMENT


def test_a_key_does_not_stay_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    given = SimpleNamespace(
        server_key=SERVER.key, server_cert=SERVER.cert, custom_ca="", client_verify=False
    )
    tls_context(given)
    assert list(tmp_path.iterdir()) == []
