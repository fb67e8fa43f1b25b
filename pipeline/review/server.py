"""The page of a review: for the browser of this machine alone, and only at its secret address."""

import json
import secrets
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args

from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion import corrections
from darkroom.components.ingestion.corrections import Action, Correction
from darkroom.components.ingestion.findings import Fault
from darkroom.pipeline.review.images import Images

_LOOPBACK = "127.0.0.1"
_PAGE = Path(__file__).with_name("review.html")
_MOST_BYTES = 2**16  # of a decision
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_IMAGES = {b"\x89": "image/png", b"\xff": "image/jpeg", b"G": "image/gif", b"B": "image/bmp"}


class Server(ThreadingHTTPServer):
    """Shows the faults, and saves each decision at once."""

    daemon_threads = True

    def __init__(self, images: Images, faults: Sequence[Fault], port: int = 0):
        """``port`` 0: any that is free. Raises a DarkroomError where it is taken."""
        try:
            super().__init__((_LOOPBACK, port), _Handler)
        except OSError as error:
            raise DarkroomError(
                f"The page can't have port {port}: {error.strerror}. Choose another --port."
            ) from error
        self.token = secrets.token_urlsafe(16)
        self.hosts = [f"{name}:{self.server_port}" for name in (_LOOPBACK, "localhost")]
        self.images, self.faults = images, faults
        self.rows = {path: row for row, path in enumerate(images.paths)}
        self.file = images.source.folder / corrections.CORRECTIONS_FILE
        self._saving = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the page, with the token that opens it."""
        return f"http://{self.hosts[0]}/{self.token}/"

    def facts(self) -> dict[str, object]:
        """What the page shows: faults, classes, and the decisions that are saved already."""
        return {
            "folder": str(self.images.source.folder),
            "file": str(self.file),
            "classes": sorted(set(self.images.labels)),
            "rows": {path: self.rows.get(path) for f in self.faults for path in (f.path, f.other)},
            "faults": [fault._asdict() for fault in self.faults],
            "decisions": {each.path: each._asdict() for each in self._saved().values()},
        }

    def decide(self, path: str, word: str, label: str) -> None:
        """Saves a decision about an image; with an empty word the image has none any more.

        Raises a ValueError where it is none.
        """
        known = {fault.path for fault in self.faults} | self.rows.keys()
        actions = {action: action for action in get_args(Action)}
        if path not in known or (word and word not in actions):
            raise ValueError(f"{word!r} of {path!r} is no decision about an image of this review.")
        if (word == "relabel" and not label) or (word == "same" and label not in known - {path}):
            raise ValueError(f"{word} can't have {label!r}.")
        with self._saving:
            saved = self._saved()
            saved.pop(path, None)
            if word:
                saved[path] = Correction(path, actions[word], label)
            corrections.write(self.file, saved.values())

    def _saved(self) -> dict[str, Correction]:
        return corrections.read(self.file)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60.0  # seconds that a connection may be idle

    def do_GET(self) -> None:
        page, server = self._page(), self.server
        if page == "":
            self._answer(_PAGE.read_bytes(), "text/html; charset=utf-8")
        elif page == "facts.json":
            # Names of files that aren't UTF-8 stay what they are, in JSON's own escapes.
            self._answer(json.dumps(server.facts()).encode(), "application/json")
        elif page is not None and page.startswith("images/"):
            number = page.removeprefix("images/")
            if number.isdecimal() and int(number) < len(server.images.paths):
                image = server.images.encoded(int(number))
                self._answer(image, _IMAGES.get(image[:1], "application/octet-stream"))
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "There is no such image.")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "Open the address that darkroom review has printed.")

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > _MOST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is no decision.")
            return
        body = self.rfile.read(int(size))
        if self._page() != "decisions" or self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.NOT_FOUND, "Open the address that darkroom review has printed.")
            return
        try:
            values = json.loads(body)
            self.server.decide(str(values["path"]), str(values["action"]), str(values["label"]))
        except (ValueError, KeyError, TypeError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"{error}")
        except (OSError, DarkroomError) as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"It isn't saved: {error}")
        else:
            self._answer(b"{}", "application/json")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its own name
        """Says nothing."""

    def _page(self) -> str | None:
        """What is asked for below the secret path; None where anybody else asks.

        The host is checked, as another site's name may point to this machine (DNS rebinding).
        """
        _, token, page = (*self.path.split("/", 2), "", "")[:3]
        own = self.headers.get("Host") in self.server.hosts
        is_secret = secrets.compare_digest(token.encode(), self.server.token.encode())
        return page if own and is_secret and self.path.count("/") > 1 else None

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self.close_connection = True  # what was sent may not have been read
        self._answer(json.dumps({"error": sentence}).encode(), "application/json", status)

    def _answer(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
