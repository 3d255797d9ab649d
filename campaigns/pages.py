"""The built pages, served by the API itself: a few files in memory, answered before routing.

`/`, `/r/…`, `/t/…`, `/desk` and `/hq` are one page (the browser routes on); hashed assets are kept
for a year, everything else is asked again with its ETag. Without a build `/` says so in a sentence.
The policy lets a page load and call nothing but us, the gateway and, in development, the sandbox
provider. `/docs` describes the API without the internet, in development only.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from engine.settings import Settings

DIST = Path(__file__).parents[1] / "web" / "dist"
FILES_MAX = 2_000
BYTES_MAX = 64 * 1024 * 1024
_ONE_PAGE = ("/r/", "/t/", "/o/", "/desk/", "/hq/")
_INDEX = "/index.html"
_DOCS = "/docs/"
_SQUEEZED = ("text/", "application/javascript", "application/json", "image/svg+xml")
NOT_BUILT = (
    "Kaituan is running, but its pages are not built here (that takes Node.js and the npm "
    "registry). The API works without them: see /v1/rooms and /schema/openapi.json.\n"
)

Headers = list[tuple[bytes, bytes]]


class Page(NamedTuple):
    """An answer: status, headers, body (also what a HEAD would have)."""

    status: int
    headers: Headers
    body: bytes


class _File(NamedTuple):
    """A file of the build; `squeezed` is its gzip where that is worth it."""

    headers: Headers
    etag: bytes
    body: bytes
    squeezed: bytes | None


class Pages:
    """The files of a build; read when first asked for, and again when there is a newer one."""

    def __init__(self, settings: Settings) -> None:
        self._dist = Path(settings.pages_dir) if settings.pages_dir else DIST
        self._docs = settings.mode == "development"
        self._policy = policy(settings).encode()
        self._files: dict[str, _File] = {}
        self._built_ns = 0

    def find(self, path: str, asked: Mapping[bytes, bytes]) -> Page | None:
        """The answer for a GET of `path`, or None when it is not a page's business.

        `asked` are the request's headers, by lower-case name.
        """
        if path.startswith(("/v1/", "/schema", "/healthz", "/readyz", "/metrics")):
            return None
        is_page = path == "/" or f"{path}/".startswith(_ONE_PAGE)
        is_docs = f"{path}/".startswith(_DOCS)
        if is_docs:
            if not self._docs:
                return None
            name = _DOCS + "index.html" if path in ("/docs", _DOCS) else path
        else:
            name = _INDEX if is_page else path
        # Another process may have served the page of a newer build: a miss looks again.
        if is_page or is_docs or name not in self._files:
            self._look()
        found = self._files.get(name)
        if found is not None:
            return _answer(found, asked)
        if path == "/":
            return _plain(NOT_BUILT)
        return None

    def _look(self) -> None:
        """Read the build if it is another than the one in memory."""
        try:
            built_ns = (self._dist / "index.html").stat().st_mtime_ns
        except OSError:
            built_ns = 0
        if built_ns != self._built_ns:
            self._files = self._read() if built_ns else {}
            self._built_ns = built_ns

    def _read(self) -> dict[str, _File]:
        files: dict[str, _File] = {}
        size = 0
        for path in sorted(self._dist.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            body = path.read_bytes()
            size += len(body)
            if len(files) >= FILES_MAX or size > BYTES_MAX:
                raise AssertionError(f"the build in {self._dist} is too large to serve")
            name = "/" + path.relative_to(self._dist).as_posix()
            files[name] = self._file(name, body)
        return files

    def _file(self, name: str, body: bytes) -> _File:
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        kind = {"text/javascript": "application/javascript"}.get(kind, kind)
        hashed = name.startswith(("/assets/", "/docs/assets/"))
        keep = "public, max-age=31536000, immutable" if hashed else "no-cache"
        etag = b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'
        charset = "; charset=utf-8" if kind.startswith("text/") else ""
        headers = [
            (b"content-type", f"{kind}{charset}".encode()),
            (b"cache-control", keep.encode()),
            (b"etag", etag),
            (b"x-content-type-options", b"nosniff"),
        ]
        if name.endswith(".html"):
            headers += [
                (b"content-security-policy", self._policy),
                (b"referrer-policy", b"same-origin"),
            ]
        squeezed = None
        if kind.startswith(_SQUEEZED) and len(body) > 1_024:
            headers.append((b"vary", b"Accept-Encoding"))
            squeezed = gzip.compress(body, 6, mtime=0)
        return _File(headers, etag, body, squeezed)


def policy(settings: Settings) -> str:
    """The Content-Security-Policy of the pages.

    Inline styles are allowed: the component libraries set them on their elements. Scripts are not.
    """
    gateway = _origin(gateway_url(settings))
    outside = _origin(settings.provider_url) if settings.mode == "development" else ""
    calls = " ".join(one for one in ("'self'", gateway, outside) if one)
    return "; ".join(
        (
            "default-src 'self'",
            f"connect-src {calls}",
            f"form-action 'self' {outside}".strip(),
            f"frame-src 'self' {outside}".strip(),
            "font-src 'self' data:",  # the phone library's icons lie in its style sheet
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "worker-src 'self' blob:",
            "style-src 'self' 'unsafe-inline'",
            "object-src 'none'",
            "base-uri 'self'",
            "frame-ancestors 'none'",
        )
    )


def gateway_url(settings: Settings) -> str:
    """Where browsers find the room gateway."""
    if settings.gateway_url:
        return settings.gateway_url
    return f"ws://{settings.gateway_host}:{settings.gateway_port}/v1/live"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""


def _answer(found: _File, asked: Mapping[bytes, bytes]) -> Page:
    if found.etag in asked.get(b"if-none-match", b""):
        return Page(304, found.headers, b"")
    if found.squeezed is not None and b"gzip" in asked.get(b"accept-encoding", b""):
        return Page(200, [*found.headers, (b"content-encoding", b"gzip")], found.squeezed)
    return Page(200, found.headers, found.body)


def _plain(text: str) -> Page:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-cache")]
    return Page(200, headers, text.encode())
