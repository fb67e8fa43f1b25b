"""Who may ask: TLS for both ports, and API keys."""

import hashlib
import hmac
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from google.protobuf.message import Message

from darkroom.serving.errors import Code, ServingError, invalid

_BEARER = "bearer "


class Keys:
    """The API keys that are accepted; without any, everybody is."""

    def __init__(self, path: str = ""):
        """Reads a file with a key on each line, without those with #; raises ServingError."""
        self._digests: list[bytes] = []
        if not path:
            return
        try:
            lines = [s.strip() for s in Path(path).read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise invalid(f"--api_key_file {path} can't be read: {error}") from error
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise invalid(f"--api_key_file {path} has no key; expected one on each line")
        self._digests = [_digest(key) for key in keys]

    def check(self, read: Callable[[str], str | None]) -> None:
        """Raises ServingError without a valid key; ``read`` gives headers by lower-case names."""
        if not self._digests:
            return
        key = read("x-api-key")
        if key is None:
            token = read("authorization") or ""
            key = token[len(_BEARER) :] if token.lower().startswith(_BEARER) else None
        # All digests are compared, so that the time tells nothing about the keys.
        digest = _digest((key or "").strip())
        if key is None or not sum(hmac.compare_digest(digest, own) for own in self._digests):
            raise ServingError(
                Code.UNAUTHENTICATED,
                "This server wants an API key: send it as 'authorization: Bearer KEY' or "
                "'x-api-key: KEY'.",
            )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def tls_context(config: Message) -> ssl.SSLContext:
    """The TLS of the HTTP port, as an SSLConfig says; raises ServingError where keys don't fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python reads a key from files only; a temporary one is its owner's alone, and gone at once.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{config.server_key}\n{config.server_cert}\n")
        file.flush()
        try:
            # With no password given, OpenSSL would ask the terminal for that of a locked key.
            context.load_cert_chain(file.name, password="")
            if config.custom_ca:
                context.load_verify_locations(cadata=config.custom_ca)
        except (ssl.SSLError, ValueError, TypeError) as error:
            message = f"server_key, server_cert or custom_ca can't be used: {error}"
            raise invalid(f"--ssl_config_file: {message}") from error
    if config.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
        if not config.custom_ca:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    return context
