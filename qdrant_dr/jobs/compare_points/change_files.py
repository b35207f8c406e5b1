"""Points that differ, one by one: in a spool in the order of their ids, and in a file to keep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.errors import PlanRefused, UsageError
from qdrant_dr.jobs.run.new_file import new_file
from qdrant_dr.proof.point_table import key_id

Kind = Literal["removed", "added", "changed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ENDINGS = (".ndjson", ".parquet")
ROW_GROUP = 50_000
_EACH = 200  # bytes of a row, about


@dataclass(frozen=True, slots=True)
class Change:
    """One point, and in which components it differs if it is in both states. With custom sharding
    it is that of its shard key."""

    key: bytes
    kind: Kind
    components: tuple[str, ...] = ()
    shard_key: ShardKey | None = None

    @property
    def point(self) -> int | str:
        return key_id(self.key)


def write_spool(file: Path, changes: Iterable[Change]) -> int:
    """Write changes to a new file, and return how many there are."""
    count = 0
    with file.open("x") as out:
        for change in changes:
            out.write(json.dumps(_line(change)) + "\n")
            count += 1
    return count


def _line(change: Change) -> list[Any]:
    return [change.key.hex(), change.kind, change.components, change.shard_key]


def read_spool(file: Path) -> Iterator[Change]:
    """Yield the changes again."""
    with file.open() as lines:
        for line in lines:
            key, kind, components, shard_key = json.loads(line)
            yield Change(bytes.fromhex(key), kind, tuple(components), shard_key)


def check_out(out: Path) -> None:
    """Raise UsageError for a file of no form that is written here, PlanRefused if it is there."""
    if out.exists():
        raise PlanRefused(f"{out} exists already; nothing was written", "give another --out.")
    if out.suffix not in ENDINGS:
        raise UsageError(
            f"{out.name} ends neither in {' nor in '.join(ENDINGS)}",
            f"give --out {out.stem or 'changes'}.ndjson, or .parquet.",
        )


def write_changes(out: Path, changes: Iterable[Change], count: int) -> None:
    """Write all changes to a new file: NDJSON or Parquet, by its ending. Raise what `new_file`
    raises."""
    with new_file(out, count * _EACH) as file:
        (_ndjson if out.suffix == ".ndjson" else _parquet)(file, changes)


def _row(change: Change) -> dict[str, Any]:
    row = {"id": change.point, "change": change.kind, "components": list(change.components)}
    return row if change.shard_key is None else {**row, "shard_key": change.shard_key}


def _ndjson(out: BinaryIO, changes: Iterable[Change]) -> None:
    out.writelines(
        json.dumps(_row(change), ensure_ascii=False).encode() + b"\n" for change in changes
    )


def _flat(change: Change) -> dict[str, Any]:
    point, key = change.point, change.shard_key
    texts = {"id": str(point), "shard_key": None if key is None else str(key)}
    return {**_row(change), **texts, "number": point if isinstance(point, int) else None}


def _parquet(out: BinaryIO, changes: Iterable[Change]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("number", pa.uint64()),
            pa.field("change", pa.string(), nullable=False),
            pa.field("components", pa.list_(pa.string()), nullable=False),
            pa.field("shard_key", pa.string()),
        ]
    )
    rest = iter(changes)
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        while some := list(islice(rest, ROW_GROUP)):
            rows = [_flat(change) for change in some]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
