"""Zenodo and Hugging Face on a port of this machine, as far as files are fetched from them, and how they misbehave."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    #: the header Range
    range: str | None
    agent: str | None
    token: str | None


#: Answers a request instead of the site; it is given the content that the site would have sent.
Fault = Callable[["Handler", bytes], None]


class Site(ThreadingHTTPServer):
    """What is served, what was asked for, and what goes wrong: a path (HEAD before it) -> answers instead."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.records: dict[str, dict[str, bytes]] = {}
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[Asked] = []
        self.faults: dict[str, list[Fault]] = {}

    def handle_error(self, *_: Any) -> None:
        """Silent where a client has gone, and what else is wrong shows in the test."""

    def description(self, record: str) -> dict[str, Any]:
        """What Zenodo says of a record, as far as it matters, with addresses that nobody should follow."""
        return {
            "id": int(record),
            "files": [
                {
                    "key": name,
                    "size": len(content),
                    "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
                    "links": {"self": f"http://elsewhere.invalid/{name}"},
                }
                for name, content in self.records[record].items()
            ],
        }

    def content(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        """What lies at a path, and its headers."""
        match path.strip("/").split("/"):
            case ["api", "records", record] if record in self.records:
                return json.dumps(self.description(record)).encode(), {}
            case ["api", "records", record, "files", name, "content"] if name in self.records.get(record, {}):
                return self.records[record][name], {"Accept-Ranges": "bytes"}
            case [owner, name, "resolve", "main", file] if file in self.repositories.get(f"{owner}/{name}", {}):
                content = self.repositories[f"{owner}/{name}"][file]
                large = file.endswith(".bin")
                digest = hashlib.sha256(content).hexdigest() if large else hashlib.sha1(content).hexdigest()
                return content, {"ETag": f'"{digest}"', "X-Repo-Commit": "0" * 40}
        return None

    def fetched(self, name: str) -> list[Asked]:
        """The requests for a file itself."""
        return [asked for asked in self.asked if asked.method == "GET" and f"/{name}" in asked.path]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Site

    def do_GET(self) -> None:
        """With a body."""
        self._answer()

    def do_HEAD(self) -> None:
        """Without."""
        self._answer()

    def _answer(self) -> None:
        said = self.headers
        asked = Asked(self.command, self.path, said["Range"], said["User-Agent"], said["Authorization"])
        self.server.asked.append(asked)
        found = self.server.content(self.path)
        faults = self.server.faults.get(self.path if self.command == "GET" else f"HEAD {self.path}")
        if faults:
            faults.pop(0)(self, found[0] if found else b"")
        elif found is None:
            self.answer(404, b'{"status": 404, "message": "no such thing"}')
        else:
            self._ranged(asked.range, *found)

    def _ranged(self, wanted: str | None, content: bytes, headers: dict[str, str]) -> None:
        if not wanted:
            self.answer(200, content, headers)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        headers |= {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self.answer(206, content[start:], headers)

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        """An honest one."""
        self.start(status, len(content), headers)
        if self.command == "GET":
            self.wfile.write(content)

    def start(self, status: int, length: int | None, headers: dict[str, str] | None = None) -> None:
        """Its head, which may lie about the length, or keep silent."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


def cut(after: int) -> Fault:
    """The connection ends in the middle, after so many bytes of what was asked for."""

    def fault(handler: Handler, content: bytes) -> None:
        wanted = handler.headers["Range"] or "bytes=0-"
        content = content[int(wanted.removeprefix("bytes=").removesuffix("-")) :]
        handler.start(206 if handler.headers["Range"] else 200, len(content))
        handler.wfile.write(content[:after])

    return fault


def status(number: int) -> Fault:
    """An error's number."""
    return lambda handler, _: handler.answer(number, b"<html>sorry</html>", {"Content-Type": "text/html"})


def instead(content: bytes) -> Fault:
    """Something else, honestly sent."""
    return lambda handler, _: handler.answer(200, content)


def redirect(to: str, headers: dict[str, str] | None = None) -> Fault:
    """Look there."""
    return lambda handler, _: handler.answer(302, b"", {"Location": to, **(headers or {})})


def slowly(handler: Handler, content: bytes) -> None:
    """In ten pieces, and nobody knows how much is to come."""
    handler.start(200, None)
    for start in range(0, len(content), len(content) // 10):
        handler.wfile.write(content[start : start + len(content) // 10])
        handler.wfile.flush()
        time.sleep(0.02)


def without_end(handler: Handler, content: bytes) -> None:
    """More, and more."""
    handler.start(200, None)
    while True:
        handler.wfile.write(content)


def held(after: int, until: threading.Event) -> Fault:
    """A part of it, and the rest when something has happened."""

    def fault(handler: Handler, content: bytes) -> None:
        handler.start(200, len(content))
        handler.wfile.write(content[:after])
        until.wait(100)
        handler.wfile.write(content[after:])

    return fault


@contextmanager
def serving() -> Iterator[Site]:
    """A site that answers."""
    site = Site()
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        stop(site)
        thread.join()


def stop(site: Site) -> None:
    """From now on nobody is there."""
    site.shutdown()
    site.server_close()
