"""Real archives as backups, archives taken apart and put together again, and hand-made tars."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qdrant_dr.digests import StreamDigest
from qdrant_dr.records import Manifest, Part, ShardFacts
from tests.support import records
from tests.support.replay import expected

FIXTURES = Path(__file__).parent.parent / "fixtures"
BLOCK = 512
END = bytes(2 * BLOCK)

OPERATIONS = {"basic": [6], "rich": [22], "sharded": [5, 5, 5], "empty": [0], "single": [1],
              "busy": [210], "motion": [316]}  # fmt: skip
"""Last operation of each shard, as the engine reads it from the collection archive."""


def archive(name: str) -> bytes:
    """A real archive: `basic/collection`, `busy/shard-0`."""
    return (FIXTURES / f"{name}.snapshot").read_bytes()


@dataclass
class MemoryReader:
    """One copy of a backup, as bytes by part name; a part that is absent is not there."""

    parts: dict[str, bytes]
    block: int = 1 << 16
    read: int = 0

    def sizes(self, part: Part) -> int | None:
        data = self.parts.get(part.name)
        return None if data is None else len(data)

    def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        data = self.parts[part.name][start:end]
        for at in range(0, len(data), self.block):
            piece = data[at : at + self.block]
            self.read += len(piece)
            yield piece


def part(
    data: bytes,
    *,
    name: str = "collection",
    kind: str = "collection",
    shards: Sequence[int] = (0,),
    wal: bool = True,
) -> Part:
    """The part that these bytes are."""
    digest = StreamDigest()
    digest.update(data)
    return Part(
        name=name,
        kind=kind,
        shards=tuple(shards),
        wal=wal,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        node="http://127.0.0.1:6333",
        blocks=digest.blocks,
    )


def backup(
    set_name: str,
    *archives: str,
    data: Mapping[str, bytes] | None = None,
    operations: Sequence[int | None] | None = None,
    counts: Sequence[int | None] | None = None,
    **fields: Any,
) -> tuple[Manifest, MemoryReader]:
    """A real set as a backup and its copy. `archives` default to the collection's.

    `operations` and `counts` are the facts of the source, the same before and after; those of a
    settled source by default. `data` replaces the bytes of archives by name.
    """
    names = archives or ("collection",)
    parts, contents = [], {}
    info, cluster = _facts(set_name)
    numbers = [shard["shard_id"] for shard in cluster["local_shards"]]
    for name in names:
        contents[name] = (data or {}).get(name) or archive(f"{set_name}/{name}")
        whole = name == "collection"
        shards = numbers if whole else [int(name.rsplit("-", 1)[1])]
        kind = "collection" if whole else "shard"
        parts.append(part(contents[name], name=name, kind=kind, shards=shards, wal=whole))
    counted = [shard["points_count"] for shard in cluster["local_shards"]]
    facts = [
        ShardFacts(
            shard=n,
            operation_before=operation,
            operation_after=operation,
            count_before=count,
            count_after=count,
        )
        for n, operation, count in zip(
            numbers, operations or OPERATIONS[set_name], counts or counted, strict=True
        )
    ]
    manifest = records.manifest(
        expected()["sets"][set_name]["collection"],
        **{
            "method": "collection" if "collection" in names else "shard",
            "parts": tuple(parts),
            "shards": tuple(facts),
            "server_version": "1.18.3",
            "collection_info": json.dumps(info),
            "collection_cluster": json.dumps(cluster),
            **fields,
        },
    )
    return manifest, MemoryReader(contents)


def _facts(set_name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the server said of the collection; `motion` is `busy` a moment later."""
    facts = expected()["sets"]["busy" if set_name == "motion" else set_name]["facts"]
    return facts["info"], facts["cluster"]


@dataclass(frozen=True)
class RawMember:
    """One member as it stands in an archive: header with its extensions, and data unpadded."""

    header: bytes
    data: bytes
    nested: tuple[RawMember, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return self.header[:100].split(b"\0", 1)[0].decode()

    def with_data(self, data: bytes) -> RawMember:
        """The same member with other data, size and checksum corrected."""
        head = bytearray(self.header[:BLOCK])
        head[124:136] = b"%011o\0" % len(data)
        return replace(self, header=_summed(head) + self.header[BLOCK:], data=data)

    def to_bytes(self) -> bytes:
        return self.header + self.data + bytes(-len(self.data) % BLOCK)


def take_apart(data: bytes) -> list[RawMember]:
    """The members of a whole archive that needs no long names."""
    found, at = [], 0
    while at < len(data) and data[at : at + BLOCK] != bytes(BLOCK):
        end = at + BLOCK
        if data[at + 156 : at + 157] == b"S" and data[at + 482]:
            while data[end + 504]:
                end += BLOCK
            end += BLOCK
        size = int(data[at + 124 : at + 135].strip(b" \0") or b"0", 8)
        found.append(RawMember(data[at:end], data[end : end + size]))
        at = end + size + -size % BLOCK
    return found


def put_together(members: Iterable[RawMember], *, end: bytes = END) -> bytes:
    """The archive of these members."""
    return b"".join(m.to_bytes() for m in members) + end


def edit_segments(data: bytes, file: str, edit: Callable[[bytes], bytes]) -> bytes:
    """A collection archive with every file of its segments that ends in `file`, and is not sparse,
    edited; what the edit leaves as it is does not count. Raise unless something was changed."""
    outer, changed = take_apart(data), 0
    for n, segment in enumerate(outer):
        if not segment.name.endswith(".tar"):
            continue
        inner = take_apart(segment.data)
        end = segment.data[sum(len(m.to_bytes()) for m in inner) :]
        for k, member in enumerate(inner):
            sparse = member.header[156:157] == b"S"
            if member.name.endswith(file) and not sparse:
                inner[k] = member.with_data(edit(member.data))
                changed += inner[k].data != member.data
        outer[n] = segment.with_data(put_together(inner, end=end))
    assert changed, f"no {file} was changed"
    return put_together(outer)


def _summed(head: bytearray) -> bytes:
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def header(
    name: str | bytes,
    size: int = 0,
    kind: bytes = b"0",
    *,
    runs: Sequence[tuple[int, int]] = (),
    apparent: int | None = None,
) -> bytes:
    """A GNU header; with `kind` S also the map of `runs` and its extension blocks."""
    head = bytearray(BLOCK)
    raw = name.encode() if isinstance(name, str) else name
    head[: len(raw)] = raw
    head[100:108] = b"0000644\0"
    head[108:116] = head[116:124] = b"0000000\0"
    head[124:136] = _octal(size)
    head[136:148] = b"00000000000\0"
    head[156:157] = kind
    head[257:265] = b"ustar  \0"
    extra = b""
    if kind == b"S":
        pairs = [_octal(at) + _octal(length) for at, length in runs]
        head[386 : 386 + 24 * len(pairs[:4])] = b"".join(pairs[:4])
        head[482] = len(pairs) > 4
        head[483:495] = _octal(size if apparent is None else apparent)
        rest = pairs[4:]
        while rest:
            block = b"".join(rest[:21]).ljust(504, b"\0")
            rest = rest[21:]
            extra += block + bytes([bool(rest)]) + bytes(7)
    return _summed(head) + extra


def _octal(number: int) -> bytes:
    """Eleven octal digits, or base-256 for what does not fit."""
    if number < 8**11:
        return b"%011o\0" % number
    return b"\x80" + number.to_bytes(11, "big")


def tar(*members: tuple[str | bytes, bytes], end: bytes = END) -> bytes:
    """A tar of plain files."""
    return put_together((RawMember(header(n, len(d)), d) for n, d in members), end=end)


def file_member(path: Path, name: str) -> bytes:
    """A file as Qdrant puts it in: sparse where it has holes."""
    runs, data = [], b""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            stop = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            runs.append((at, stop - at))
            data += os.pread(file.fileno(), stop - at, at)
            at = stop
    raw = name.encode()
    long_name = b""
    if len(raw) > 100:
        long_name = RawMember(header("././@LongLink", len(raw) + 1, b"L"), raw + b"\0").to_bytes()
    if runs in ([(0, size)], []) and len(data) == size:
        head = header(raw[:100], size)
    else:
        head = header(raw[:100], len(data), b"S", runs=[*runs, (size, 0)], apparent=size)
    return long_name + RawMember(head, data).to_bytes()


def pack_collection(shards: Mapping[int, Path], config: Mapping[str, Any]) -> bytes:
    """The collection archive of shards that the engine left on disk, as a server writes it."""
    pieces: list[bytes] = []
    state = {"is_local": True, "this_peer_id": 1, "peers": {"1": "Active"}}
    for number, folder in shards.items():
        for segment in sorted((folder / "segments").iterdir()):
            files = [p for p in segment.rglob("*") if p.is_file()]
            files.sort(key=lambda p: (p.name in ("segment.json", "version.info"), p))
            inner = b"".join(
                file_member(p, f"snapshot/files/{p.relative_to(segment)}") for p in files
            )
            name = f"{number}/segments/{segment.name}.tar"
            pieces.append(RawMember(header(name, len(inner)), inner).to_bytes())
        logs = (p for p in sorted((folder / "wal").iterdir()) if p.name[0] != ".")
        pieces += [file_member(path, f"{number}/wal/{path.name}") for path in logs]
        for name, value in (("replica_state", state), ("shard_config", {"type": "ReplicaSet"})):
            data = json.dumps(value).encode()
            pieces.append(RawMember(header(f"{number}/{name}.json", len(data)), data).to_bytes())
    files = {
        "version.info": b"0.4.2",
        "config.json": json.dumps(config).encode(),
        "shard_key_mapping.json": b"[]",
        "payload_index.json": b'{"schema":{}}',
    }
    pieces += [RawMember(header(n, len(d)), d).to_bytes() for n, d in files.items()]
    return b"".join(pieces) + END
