"""Who may ask: TLS for both ports, and API keys."""

import hashlib
import hmac
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from google.protobuf.message import Message

from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.protocols.hosts import is_loopback

_BEARER = "bearer "


class Keys:
    """The API keys that are accepted; without any, everybody is."""

    def __init__(self, path: str = "", flag: str = "--api_key_file"):
        """Reads a flag's file: a key on each line, without those with #; raises ServingError."""
        self._digests: list[bytes] = []
        if not path:
            return
        try:
            lines = [s.strip() for s in Path(path).read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise invalid(f"{flag} {path} can't be read: {error}") from error
        keys = {at: s for at, s in enumerate(lines, 1) if s and not s.startswith("#")}
        if not keys:
            raise invalid(f"{flag} {path} has no key; expected one on each line")
        for at, key in keys.items():
            if not key.isascii():  # which no two HTTP clients send alike
                raise invalid(f"{flag} {path}, line {at}: expected a key of ASCII characters")
        self._digests = [_digest(key) for key in keys.values()]

    def __bool__(self) -> bool:
        return bool(self._digests)

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


class Administrators:
    """Who may change what a server serves, and look into it."""

    def __init__(self, keys: Keys, admin_keys: Keys, host: str):
        """``keys`` are all clients', ``host`` is where the server listens."""
        self._keys = admin_keys
        self._anybody = not keys and is_loopback(host)

    def check(self, read: Callable[[str], str | None]) -> None:
        """Raises ServingError where it isn't one; ``read`` as of ``Keys.check``."""
        if not self._keys and not self._anybody:
            raise ServingError(
                Code.PERMISSION_DENIED,
                "This is for administrators, and this server has none: start it with "
                "--admin_api_key_file. Its configuration is in its --model_config_file, too.",
            )
        self._keys.check(read)


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
