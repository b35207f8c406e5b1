"""Write points into a collection as they were read: every number keeps its bits.

Vectors are sent as decimals of binary64, which hold a binary32 exactly. Payload floats are sent in
their shortest form. A server whose parser rounds some of them differently (serde_json without
`float_roundtrip`, as in Qdrant 1.18.3: measured, the last bits of 9 % of random doubles) can be
sent another spelling that it reads as the intended number."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from qdrant_dr.cluster.node import Node
from qdrant_dr.cluster.point_writes import PointWrites
from qdrant_dr.cluster.scroll import RawPoint, of_key
from qdrant_dr.errors import RecoverFailed, ServerFailed

MAX_BYTES = 8 << 20
"""Bytes of one request; a server accepts 32 MiB unless configured otherwise."""
_REFUSED_AT_ONCE = 16
_MARK = "qdr:float:"
_MARKED = re.compile(rf'"{_MARK}([^"]*)"')
_U64 = 1 << 64


@dataclass(frozen=True, slots=True)
class _Text:
    """The JSON of a point, and the vectors that it has and is not to keep."""

    id: int | str
    json: bytes
    without: Collection[str] = ()


Mode = Literal["insert_only", "update_only"]
"""Which points an upsert touches: only those that are not there, or only those that are. A server
before 1.17 does not know it, and writes all of them."""


class Upserts:
    """Writes points into one collection; each batch is applied before the next is sent.

    `refused` are the ids that the server, or JSON itself, did not accept, with the reason.
    """

    def __init__(
        self,
        node: Node,
        collection: str,
        *,
        mode: Mode | None = None,
        writes: PointWrites | None = None,
        most: int | None = None,
    ) -> None:
        self.node, self.collection, self.mode = node, collection, mode
        self.writes = writes or PointWrites(node, collection)
        self.most = most
        self.refused: dict[int | str, str] = {}

    def send(
        self,
        points: Sequence[RawPoint],
        *,
        shard_key: int | str | None = None,
        respell: bool = False,
        without: Mapping[int | str, Collection[str]] | None = None,
    ) -> None:
        """Send the points of one page; `respell` floats for the server's own parser.

        `without` names vectors that a point has and is not to keep. An upsert leaves them where it
        moves the point out of an indexed segment (shard/src/update.rs of Qdrant 1.18.3, seen on
        it), so they are removed in the same request.

        A refused batch is split in halves, so that one point does not cost the others. Raise
        RecoverFailed if the server refuses many in a row, NodeUnreachable or AccessDenied.
        """
        texts: list[_Text] = []
        for point in points:
            try:
                text = point_text(point, respell=respell)
                texts.append(_Text(point["id"], text, (without or {}).get(point["id"], ())))
            except ValueError as e:
                self.refused[point["id"]] = str(e)
        for batch in _batches(texts, self.most):
            before = len(self.refused)
            self._send(batch, shard_key, before)

    def _send(self, batch: Sequence[_Text], key: int | str | None, before: int) -> bool:
        """Send a batch; return whether any point was accepted."""
        try:
            self._put(batch, key)
        except ServerFailed as e:
            if len(batch) == 1:
                self.refused[batch[0].id] = e.message
                return False
            half = len(batch) // 2
            taken = [self._send(some, key, before) for some in (batch[:half], batch[half:])]
            if not any(taken) and len(self.refused) - before >= _REFUSED_AT_ONCE:
                raise RecoverFailed(
                    f"{self.node.url} accepts no point of {self.collection!r}: {e.message}"
                ) from None
            return any(taken)
        return True

    def _put(self, batch: Sequence[_Text], key: int | str | None) -> None:
        """Make one request. An upsert may be repeated: the same points again change nothing."""
        points = b",".join([text.json for text in batch])
        about = {**of_key(key), **({"update_mode": self.mode} if self.mode else {})}
        rest = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in about.items())
        body = b'{"points":[%b]%b}' % (points, rest.encode())
        doing = f"write {len(batch)} points of {self.collection!r}"
        having: dict[str, list[int | str]] = {}
        for text in batch:
            for name in text.without:
                having.setdefault(name, []).append(text.id)
        if not having:
            self.writes.make("PUT", (), doing, body)
            return
        removals = [
            json.dumps({"delete_vectors": {"points": ids, "vector": [name], **of_key(key)}})
            for name, ids in having.items()
        ]
        both = b'{"operations":[{"upsert":%b},%b]}' % (body, ",".join(removals).encode())
        self.writes.make("POST", ("batch",), doing, both, operations=1 + len(having))


def _batches(texts: Sequence[_Text], most: int | None = None) -> Iterator[list[_Text]]:
    batch: list[_Text] = []
    size = 0
    for text in texts:
        if batch and (size + len(text.json) > MAX_BYTES or len(batch) == most):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text.json)
    if batch:
        yield batch


def point_text(point: RawPoint, *, respell: bool = False) -> bytes:
    """Return the JSON of one point. Raise ValueError if it holds a number that JSON cannot
    express."""
    payload = point.get("payload") or {}  # null would leave the payload that is there
    vector = point.get("vector")
    body = {
        "id": point["id"],
        "vector": {} if vector is None else vector,
        "payload": _respelled(payload) if respell else payload,
    }
    if not respell and (quick := _by_orjson(body)) is not None:
        return quick
    try:
        text = json.dumps(body, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise ValueError("it has a number that is not finite, which no request can carry") from None
    return (_MARKED.sub(r"\1", text) if respell else text).encode()


def _by_orjson(body: Any) -> bytes | None:
    """Write JSON many times faster than `json`; None for what orjson cannot write (integers of more
    than 64 bits, unpaired surrogates) or makes a null of: a number that is not finite."""
    try:
        text = orjson.dumps(body)
    except TypeError:
        return None
    return text if b"null" not in text or _is_finite(body) else None


def _is_finite(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is dict:
        return all(map(_is_finite, value.values()))
    if type(value) is list:
        try:
            return math.isfinite(sum(value)) or all(map(_is_finite, value))
        except TypeError:  # not all of them are numbers
            return all(map(_is_finite, value))
    return True


def json_text(value: Any, *, respell: bool = False) -> str:
    """Return the JSON of a payload, its floats respelled for such a server if asked."""
    text = json.dumps(_respelled(value) if respell else value, separators=(",", ":"))
    return _MARKED.sub(r"\1", text) if respell else text


def _respelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _respelled(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_respelled(v) for v in value]
    if type(value) is float and math.isfinite(value):
        text = spelled(value)
        return value if text is None else f"{_MARK}{text}"
    return value


def spelled(value: float) -> str | None:
    """Find a decimal for which such a server returns exactly this number.

    Its parser reads up to 19 digits as an integer, converts it to a double, and multiplies or
    divides it by a power of ten; it stores the result as text and parses that again on each read.
    Return None if the usual form will do, or if no other was found."""
    size = abs(value)
    sign = "-" if value < 0 else ""
    if size == 0 or _read(_read(size)) == size:
        return None
    for stored in _near(size):
        if _read(stored) == size and (text := _decimal(stored)) is not None:
            return sign + text
    return None


def _near(value: float) -> Iterator[float]:
    """Yield the number itself, then its neighbours."""
    below = above = value
    yield value
    for _ in range(4):
        below, above = math.nextafter(below, 0.0), math.nextafter(above, math.inf)
        yield below
        yield above


def _decimal(value: float) -> str | None:
    """Return a decimal that is parsed as this number."""
    for length in (17, 18, 19, 16):
        digits, exponent = _parts(f"{value:.{length - 1}e}")
        step = 1 << max(0, digits.bit_length() - 53)
        for n in (0, 1, -1, 2, -2, 3, -3):
            other = digits + n * step
            if 0 < other < _U64 and _parsed(other, exponent) == value:
                return f"{other}e{exponent}"
    return None


def _read(value: float) -> float:
    """Return what the parser makes of the shortest form of a number."""
    return _parsed(*_parts(repr(value)))


def _parts(text: str) -> tuple[int, int]:
    """Return the significant digits, and the power of ten of the last one."""
    mantissa, _, power = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    return int(whole + fraction), int(power or 0) - len(fraction)


def _parsed(digits: int, exponent: int) -> float:
    if abs(exponent) > 308:
        return math.nan
    power = float(f"1e{abs(exponent)}")
    return float(digits) / power if exponent < 0 else float(digits) * power
