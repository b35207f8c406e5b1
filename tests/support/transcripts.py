"""Recorded HTTP conversations with a real Qdrant 1.18.3, replayed step by step.

`play` sends the steps of a conversation in order to a server and pairs each recorded answer with
the one it got; `normalise` says what of an answer is volatile, and why. Nothing else is ignored.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

FIXTURES = Path(__file__).parents[1] / "fixtures"
TRANSCRIPTS = FIXTURES / "transcripts"
SAME_SECOND = "create"
"""Snapshot names have a resolution of one second and the recorded synchronous and asynchronous
creates fell into the same one; the first waits for the start of a second to make that sure."""
SETTLE = {"create async": 0.5, "upsert no wait": 0.2, "recover async": 1.0}
"""Seconds that work behind an answer gets; the recording had them too."""
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What travelled: `content` is the JSON, the text, or the number of decoded body bytes."""

    status: int
    headers: Mapping[str, str]
    content: Any


@dataclass(frozen=True, slots=True)
class Exchange:
    """One step: what was recorded, and what came now."""

    transcript: str
    step: str
    expected: Answer
    got: Answer


def load(name: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = json.loads((TRANSCRIPTS / f"{name}.json").read_bytes())
    return steps


def play(url: str, names: tuple[str, ...]) -> Iterator[Exchange]:
    """All steps of the transcripts, which were recorded one after the other on one server."""
    with httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=False) as client:
        client.headers = httpx.Headers({"accept-encoding": "identity"})
        for name in names:
            saved: dict[str, str] = {}
            for step in load(name):
                expected = _recorded(step["response"])
                if (name, step["step"]) == ("02-snapshots", SAME_SECOND):
                    time.sleep(1 - time.time() % 1)
                response = client.send(_request(client, step["request"], saved))
                _save(step, response, saved)
                yield Exchange(name, step["step"], expected, _received(response))
                time.sleep(SETTLE.get(step["step"], 0))


def _request(client: httpx.Client, asked: dict[str, Any], saved: dict[str, str]) -> httpx.Request:
    def fill(text: str) -> str:
        here = text.replace("http://server/", f"{str(client.base_url).rstrip('/')}/")
        return re.sub(r"\{\{(\w+)\}\}", lambda match: saved.get(match[1], "MISSING"), here)

    headers = {name: fill(value) for name, value in asked.get("headers", {}).items()}
    files = None
    if part := asked.get("multipart"):
        content = part["text"].encode() if "text" in part else _fixture(part)
        files = {part["field"]: (part["filename"], content)}
    body = json.loads(fill(json.dumps(asked["json"]))) if "json" in asked else None
    return client.build_request(
        asked["method"], fill(asked["path"]), headers=headers, json=body, files=files
    )


def _fixture(part: dict[str, Any]) -> bytes:
    return (FIXTURES / part["fixture"]).read_bytes()[: part.get("first_bytes")]


def _save(step: dict[str, Any], response: httpx.Response, saved: dict[str, str]) -> None:
    """`save` names what later steps use; `etag` and `past` are what `download` taught."""
    if not response.is_success:
        return
    for name, place in step["request"].get("save", {}).items():
        value = response.json()
        for key in place.split("."):
            value = value[key]
        saved[name] = str(value)
    if step["step"] == "download":
        saved["etag"] = response.headers["etag"]
        saved["past"] = response.headers["content-length"]


def _recorded(response: dict[str, Any]) -> Answer:
    content = response.get("json", response.get("text", response.get("body", {}).get("size_bytes")))
    return Answer(response["status"], response["headers"], content)


def _received(response: httpx.Response) -> Answer:
    kind = response.headers.get("content-type", "")
    content: Any = len(response.content)
    if kind.startswith("application/json"):
        content = response.json()
    elif kind.startswith("text/plain"):
        content = response.text
    return Answer(response.status_code, dict(response.headers), content)


# What is volatile, and why.

_HEADERS = (
    "content-type",
    "accept-ranges",
    "content-encoding",
    "transfer-encoding",
    "content-range",
    "content-disposition",
    "etag",
    "last-modified",
    "content-length",
)
_MASKS = (
    (re.compile(r"[\w-]+?-(\d+-)?\d{4}(-\d\d){5}\.snapshot"), "NAME.snapshot"),  # peer id, time
    (re.compile(r"/[^`\s]*/(col-[^/`]+-recovery-\w+|collections/[0-9a-f]{32})"), "/TEMP"),
    (re.compile(r"/[^`\s]*/\w+-shard-\w+$"), "/TEMP"),
    (re.compile(r'directory "[^"]+"'), 'directory "SNAPSHOTS"'),
    (re.compile(r"http://[\w.]+(:\d+)?/collections"), "http://server/collections"),
    (re.compile(r"invalid_sha256_hash \[\{.*\}\]"), "invalid_sha256_hash"),  # a map, unordered
    (re.compile(r"got [0-9a-f]{64}"), "got CHECKSUM"),  # of an archive that the server just made
)
_VOLATILE = (
    "time",
    "creation_time",
    "peer_id",
    "segments_count",  # follows the number of CPUs
    "idle_segments",
)
_BY_MAKER = ("size", "checksum")  # of an archive: other files, other bytes


def normalise(step: str, answer: Answer) -> Answer:
    """The part of an answer that must be equal for every maker and machine.

    * times, peer ids, names of snapshots, ETags, temporary paths, numbers of segments;
    * size and checksum of an archive that this server made, and lengths that follow from them;
    * `GET /`: only the version is compared, for the sandbox says that it is one;
    * the partial manifest: the greatest operation number and the shape of one entry;
    * memory and telemetry: the shape; metrics: that it is text with the numbers of collections;
    * order of collections and of payload fields: none is promised.
    """
    content = answer.content
    if step in ("root", "root without key"):
        content = {"version": content["version"]}
    elif step == "partial manifest":
        content = _manifest(content["result"])
    elif step == "memory":
        content = _shape(content)
    elif step == "read telemetry":
        content = _shape({**content["result"], "requests": sorted(content["result"]["requests"])})
    elif step in ("metrics", "read metrics"):
        content = sorted(
            re.findall(r"^collection(?:s_total|_points.*) \d+$", content, re.MULTILINE)
        )
    elif isinstance(content, dict):
        content = _json(content)
    elif isinstance(content, int):
        content = min(content, 1) if answer.status < 400 else content
    headers = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
    return Answer(answer.status, _masked_headers(headers, answer.content), content)


def _masked_headers(headers: dict[str, str], content: Any) -> dict[str, str]:
    return {name: _masked_header(name, value, content) for name, value in headers.items()}


def _masked_header(name: str, value: str, content: Any) -> str:
    if name == "etag":
        return "STRONG" if re.fullmatch(r'"[0-9a-f:]+"', value) else value
    if name == "last-modified":
        return "TIME" if value.endswith(" GMT") else value
    if name == "content-length" and (not isinstance(content, int) or content > 100):
        return "N" if value.isdecimal() else value  # the length of a JSON follows its times
    if name == "content-range":  # both ends are fixed where the request fixed them: 100-199, 0-9
        total = re.sub(r"/\d+$", "/N", value)
        return re.sub(r"-\d{3,}/N$", "-N/N", total) if "bytes 100-" not in total else total
    if name == "content-disposition":
        return _masked(value)
    return value


class Near(float):
    """A float32 of a vector or a score: replaying and normalising differ in the last bit between
    builds and CPUs (measured: up to 3e-8)."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(self - other) <= 1e-6

    __hash__ = float.__hash__


def _json(value: Any, field: str = "") -> Any:
    if isinstance(value, dict):
        volatile = (*_VOLATILE, *_BY_MAKER) if "creation_time" in value else _VOLATILE
        return {key: "*" if key in volatile else _json(item, key) for key, item in value.items()}
    if isinstance(value, list):
        items = [_json(item) for item in value]
        return sorted(items, key=str) if field in ("collections", "aliases") else items
    if isinstance(value, float):
        return Near(value)
    return _masked(value) if isinstance(value, str) else value


def _masked(text: str) -> str:
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text


def _manifest(segments: dict[str, Any]) -> dict[str, Any]:
    newest = max(segment["segment_version"] for segment in segments.values())
    fields = {tuple(sorted(segment)) for segment in segments.values()}
    named = all(key == segment["segment_id"] for key, segment in segments.items())
    files = all("payload_storage/page_0.dat" in s["file_versions"] for s in segments.values())
    return {"newest": newest, "fields": fields, "named": named, "files": files}


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        names = [item["name"] for item in value if isinstance(item, dict)]
        return sorted(names) or [_shape(item) for item in value]
    return type(value).__name__
