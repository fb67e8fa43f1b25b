"""The page at the HTTP port's root, to drop pictures on."""

import base64
import hashlib
import re
from pathlib import Path

_FILE = Path(__file__).with_name("browser.html")
_POLICY = (
    "default-src 'none'",
    "connect-src 'self'",
    "img-src blob:",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
)
_INLINE = {"script-src": "script", "style-src": "style"}


def load() -> tuple[bytes, dict[str, str]]:
    """The page, and the headers that let its own script and style run and nothing else."""
    content = _FILE.read_text(encoding="utf-8")
    allowed = []
    for directive, tag in _INLINE.items():
        [text] = re.findall(rf"<{tag}>(.*?)</{tag}>", content, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        allowed.append(f"{directive} 'sha256-{digest}'")
    headers = {
        "content-security-policy": "; ".join([*_POLICY, *allowed]),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    return content.encode(), headers
