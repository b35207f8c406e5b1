"""A proxy in front of a target: sees every call, and can hold one so that a test can strike then.

with Spy(server.url) as spy:
    spy.hold("POST", r"/snapshots/upload$", forward=False)   # not even begun
    ...
    spy.held.wait(60)        # somebody made that call and waits for its answer
    spy.release()
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self

import httpx

from tests.support.loopback import loopback

_NOT_PASSED_ON = {"host", "connection", "content-length"}
_DROPPED = {"transfer-encoding", "content-length", "connection", "content-encoding", "date"}


@dataclass
class Hold:
    """The next call that matches waits; `forward`: it is done, and only its answer waits."""

    method: str
    path: re.Pattern[str]
    forward: bool


@dataclass
class Late:
    """The next call that matches is answered before it is done."""

    method: str
    path: re.Pattern[str]
    seconds: float
    status: int
    words: str
    instead: Callable[[], object] | None


NO_CONSENSUS = (
    "Service internal error: Waiting for consensus operation commit failed. Timeout set at: 10 "
    "seconds"
)


@dataclass
class Spy:
    """`log`: every "METHOD /path" that was made, `keys` the key of each, `traffic` the bytes of
    request and answer bodies by path and user agent. `after` is called when a call was answered;
    where `instead` gives a status and a body, the target is not asked at all. `asked` and `told`
    may change the body of a request and of its answer."""

    target: str
    log: list[str] = field(default_factory=list)
    after: Callable[[str], None] | None = None
    instead: Callable[[str], tuple[int, bytes] | None] | None = None
    asked: Callable[[str, bytes], bytes] = lambda _, body: body
    told: Callable[[str, bytes], bytes] = lambda _, body: body
    keys: list[str | None] = field(default_factory=list)
    traffic: list[tuple[str, str, int]] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    pending: Callable[[], object] | None = None
    timers: list[threading.Timer] = field(default_factory=list)
    _go: threading.Event = field(default_factory=threading.Event)
    _hold: Hold | None = None
    _late: Late | None = None

    def __enter__(self) -> Self:
        handler = type("Bound", (_Handler,), {"spy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        for timer in self.timers:
            timer.join()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def hold(self, method: str, path: str, *, forward: bool) -> None:
        self.held.clear()
        self._go.clear()
        self._hold = Hold(method, re.compile(path), forward)

    def release(self) -> None:
        self._hold = None
        self._go.set()

    def answer_late(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        status: int = 500,
        words: str = "",
        instead: Callable[[], object] | None = None,
    ) -> None:
        """The next call that matches is answered with an error now, as by a server that gave up
        waiting for consensus, and done so much later (`inf`: when the test calls `pending`); or
        `instead` of it, before the answer."""
        words = words or NO_CONSENSUS
        self._late = Late(method, re.compile(path), seconds, status, words, instead)

    def count(self, method: str, path: str) -> int:
        """How often a call was made so far."""
        pattern = re.compile(path)
        made = [line.split(" ", 1) for line in self.log]
        return sum(m == method and bool(pattern.search(p)) for m, p in made)

    def waits(self, method: str, path: str, *, forward: bool) -> bool:
        """Hold this call here, if it is the one; False if it must not be made at all."""
        hold = self._hold
        if hold is None or hold.method != method or not hold.path.search(path):
            return True
        if hold.forward == forward:
            self._hold = None
            self.held.set()
            self._go.wait(120)
            return forward
        return True

    def put_off(
        self, method: str, path: str, forward: Callable[[], object]
    ) -> tuple[int, bytes] | None:
        """Status and body of the answer, if this is the call that is answered before it is done."""
        late = self._late
        if late is None or late.method != method or not late.path.search(path):
            return None
        self._late = None
        if late.instead is not None:
            late.instead()
        elif late.seconds == math.inf:
            self.pending = forward
        else:
            timer = threading.Timer(late.seconds, forward)
            timer.start()
            self.timers.append(timer)
        return late.status, json.dumps({"status": {"error": late.words}, "time": 0.1}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    spy: ClassVar[Spy]

    def handle_any(self) -> None:
        method, path = self.command, self.path.partition("?")[0]
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        self.spy.log.append(f"{method} {path}")
        self.spy.keys.append(self.headers.get("api-key"))
        if len(body) < length or not self.spy.waits(method, path, forward=False):
            self.close_connection = True
            return
        if self.spy.instead is not None and (said := self.spy.instead(f"{method} {path}")):
            self._say(*said)
            return
        body = self.spy.asked(f"{method} {path}", body)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_PASSED_ON}

        url = self.spy.target + self.path  # the next request on this connection has another

        def forward() -> httpx.Response:
            return loopback.request(
                method, url, content=body, headers=headers, timeout=120,
            )  # fmt: skip

        if said := self.spy.put_off(method, path, forward):
            self._say(*said)
            return
        answer = forward()
        content = self.spy.told(f"{method} {path}", answer.content)
        agent = self.headers.get("user-agent") or ""
        self.spy.traffic.append((path, agent, len(body) + len(content)))
        if self.spy.after is not None:
            self.spy.after(f"{method} {path}")
        self.spy.waits(method, path, forward=True)
        try:
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in _DROPPED:
                    self.send_header(name, value)
            told = answer.headers.get("content-length") if method == "HEAD" else None
            self.send_header("content-length", told or str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # who asked is dead: that is what this is for
            self.close_connection = True

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Quiet."""
