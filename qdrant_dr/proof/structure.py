"""Check that an unpacked archive has everything Qdrant writes, and belongs to the backed up

collection.
Qdrant's own restore checks neither collection, shard nor vector parameters, and accepts a
collection archive that was cut before its last member: all points are there, all payload indexes
are gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qdrant_dr.errors import ArchiveError, ArchiveForeign, ArchiveInvalid
from qdrant_dr.proof.unpack import LaidOut, LaidShard
from qdrant_dr.raw_settings import dense_vectors, without_nulls
from qdrant_dr.records import Manifest, Part

_LAST = {
    "collection": ("shard_key_mapping.json", "payload_index.json"),
    "shard": ("replica_state.json", "shard_config.json"),
}
_KINDS: dict[str, type | tuple[type, ...]] = {
    "version.info": str,
    "config.json": dict,
    "shard_key_mapping.json": (list, dict),
    "payload_index.json": dict,
}


@dataclass(frozen=True)
class Segment:
    """The content of `segment.json`: the last operation applied, and whether there are points."""

    version: int
    populated: bool


def segments_of(shard: LaidShard) -> dict[str, Segment]:
    """Return the shard's segments by UUID, as unpacked. Raise ArchiveInvalid if one is
    unreadable."""
    found = {}
    for uuid, names in shard.segments.items():
        state = _segment_json(shard, uuid)
        found[uuid] = Segment(
            version=state.get("version") or 0,
            populated=not names.isdisjoint({"id_tracker.mappings", "mutable_id_tracker.mappings"}),
        )
    return found


def inspect(laid: LaidOut, part: Part, manifest: Manifest) -> list[ArchiveError]:
    """Return every fault of one archive against its manifest; those of its stream come first."""
    faults = [*laid.faults, *_frame(laid, part), *_shards(laid, part)]
    try:
        faults += _identity(laid, manifest)
    except (AttributeError, KeyError, TypeError) as e:
        faults.append(ArchiveInvalid(f"the metadata of {part.name} are not Qdrant's: {e!r}"))
    return faults


def _frame(laid: LaidOut, part: Part) -> Iterator[ArchiveError]:
    if laid.last_members != _LAST[laid.kind]:
        yield ArchiveInvalid(
            f"{part.name} ends with {' and '.join(laid.last_members) or 'nothing'} instead of "
            f"{' and '.join(_LAST[laid.kind])}: it is truncated or rearranged"
        )
    if laid.kind == "collection":
        for name, kind in _KINDS.items():
            if name not in laid.files:
                yield ArchiveInvalid(f"{part.name} has no {name}")
            elif not isinstance(laid.files[name], kind):
                yield ArchiveInvalid(f"{name} of {part.name} is not what Qdrant writes")
    local = tuple(s.shard for s in laid.local_shards)
    if set(local) - set(part.shards):
        yield ArchiveForeign(f"{part.name} holds shards {local}, its manifest says {part.shards}")
    elif set(part.shards) - set(local):
        yield ArchiveInvalid(f"{part.name} holds shards {local}, its manifest says {part.shards}")


def _shards(laid: LaidOut, part: Part) -> Iterator[ArchiveError]:
    for shard in laid.shards:
        where = f"shard {shard.shard} of {part.name}"
        for name in ("replica_state.json", "shard_config.json"):
            if not isinstance(shard.files.get(name), dict):
                yield ArchiveInvalid(f"{where} has no {name}")
        if not shard.is_local:
            if shard.segments:
                yield ArchiveInvalid(f"{where} has segments but says that it is not local")
            continue
        yield from _local(shard, part, where)


def _local(shard: LaidShard, part: Part, where: str) -> Iterator[ArchiveError]:
    state = shard.files.get("replica_state.json")
    maker = state.get("this_peer_id") if isinstance(state, dict) else None
    if part.peer_id not in (None, maker):
        yield ArchiveForeign(f"{where} was made by peer {maker}, its manifest says {part.peer_id}")
    if not shard.segments:
        yield ArchiveInvalid(f"{where} has no segment")
    if not shard.has_wal_folder or (part.wal and not shard.has_log):
        yield ArchiveInvalid(f"{where} has no write-ahead log")
    for uuid, names in shard.segments.items():
        if missing := {"segment.json", "version.info"} - names:
            yield ArchiveInvalid(
                f"segment {uuid} in {where} has no {' and no '.join(sorted(missing))}"
            )


def _identity(laid: LaidOut, manifest: Manifest) -> Iterator[ArchiveError]:
    info = manifest.info
    info = info.get("result", info)
    params = without_nulls(info.get("config", {}).get("params", {}))
    if isinstance(config := laid.files.get("config.json"), dict):
        archived = without_nulls(config["params"])
        for name in ("vectors", "sparse_vectors", "shard_number", "sharding_method"):
            if (archived.get(name) or None) != (params.get(name) or None):
                yield ArchiveForeign(
                    f"the archive's {name} is {archived.get(name)}, the collection's was "
                    f"{params.get(name)}"
                )
    if isinstance(index := laid.files.get("payload_index.json"), dict):
        schema = {f: _index_type(s) for f, s in index["schema"].items()}
        expected = {f: s.get("data_type") for f, s in info.get("payload_schema", {}).items()}
        if schema != expected:
            yield ArchiveForeign(
                f"the archive's payload indexes are {schema}, the collection's were {expected}"
            )
    for shard in laid.local_shards:
        yield from _segment_vectors(shard, params)


def _segment_vectors(shard: LaidShard, params: dict[str, Any]) -> Iterator[ArchiveError]:
    """Check the vectors of segments, because a shard archive does not name its collection."""
    expected = {n: (v["size"], v["distance"]) for n, v in dense_vectors(params).items()}
    sparse = set(params.get("sparse_vectors") or {})
    for uuid, names in shard.segments.items():
        if "segment.json" not in names:
            continue
        try:
            config = _segment_json(shard, uuid)["config"]
            found = {name: (v["size"], v["distance"]) for name, v in config["vector_data"].items()}
            found_sparse = set(config.get("sparse_vector_data") or {})
        except ArchiveInvalid as e:
            yield e
        except (KeyError, TypeError, AttributeError) as e:
            yield ArchiveInvalid(f"segment {uuid} of shard {shard.shard} cannot be read: {e!r}")
        else:
            if found != expected or found_sparse != sparse:
                yield ArchiveForeign(
                    f"segment {uuid} of shard {shard.shard} has vectors {found} {found_sparse}, "
                    f"the collection had {expected} {sparse}"
                )


def _segment_json(shard: LaidShard, uuid: str) -> dict[str, Any]:
    path = shard.folder / "segments" / uuid / "segment.json"
    try:
        state = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise ArchiveInvalid(f"segment {uuid} of shard {shard.shard} cannot be read: {e}") from None
    if not isinstance(state, dict) or not isinstance(state.get("version"), int | None):
        raise ArchiveInvalid(f"segment {uuid} of shard {shard.shard} has no version")
    return state


def _index_type(schema: Any) -> Any:
    """Return `"integer"`, or the parameters of an index, which include its type."""
    return schema.get("type") if isinstance(schema, dict) else schema
