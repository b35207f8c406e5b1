"""Archives of collections and shards: written from the engine's shard directories, laid out again.

A collection archive has, in this order, per shard of this node `<n>/segments/<uuid>.tar` (nested,
`snapshot/files/...` inside) and `<n>/wal/*`, then for every shard, also those of other nodes,
`<n>/replica_state.json` and `<n>/shard_config.json`; then `version.info`, `config.json`,
`shard_key_mapping.json` and, last, `payload_index.json`. A stored shard archive has the same
without the prefix `<n>/`, its log is one empty file, and it ends with `shard_config.json`; a
streamed one has the files of segments unpacked, as `segments/<uuid>/files/...` (read in Qdrant
1.18.3, lib/collection/src/collection/snapshots.rs and lib/collection/src/shards/). What is wrong
with an archive is answered with the words of 1.18.3, which notices no missing tail.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from qdrant_dr.sandbox.http import Json, service_error
from qdrant_dr.sandbox.placement import Placement, Replicas, key_mapping, keys_of
from qdrant_dr.sandbox.shard import Shard
from qdrant_dr.sandbox.tar import TarWriter

_COLLECTION_VERSION = b"0.4.2"
_LOG_FILE_SIZE = 32 * 2**20
_LOG_HEADER_BLOCK = 4096
_INSIDE = Path("snapshot") / "files"


@dataclass(frozen=True, slots=True)
class Contents:
    """What this node knows of a collection: `shards` are those that it holds itself."""

    shards: Mapping[int, Shard]
    placement: Placement
    config: Json
    schema: Json
    uuid: str | None
    peer_id: int


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a collection archive said; `shards` are directories that the engine can load."""

    config: dict[str, Json]
    schema: dict[str, Json]
    uuid: str | None
    placement: Placement
    shards: dict[int, Path]


# Writing.


def write_collection(path: Path, contents: Contents, lock: RLock) -> None:
    """Write the archive shard by shard, as Qdrant does: the segments as of one instant, then,
    later, the log.

    Writers wait for `lock` while either is copied, not in between: what they add then is in the
    log alone and is replayed by whoever opens the archive. Nobody else may flush meanwhile, for
    that would tell the log that it is no longer needed.
    """
    with path.open("wb") as out:
        tar = TarWriter(out)
        for number, replicas in contents.placement.items():
            if shard := contents.shards.get(number):
                with lock:
                    shard.flush()
                    _add_segments(tar, f"{number}/", shard)
                with lock:
                    _add_log(tar, f"{number}/", shard)
            _add_states(tar, f"{number}/", replicas, contents.peer_id)
        tar.add_bytes("version.info", _COLLECTION_VERSION)
        tar.add_bytes("config.json", _json({**contents.config, "uuid": contents.uuid}))
        tar.add_bytes("shard_key_mapping.json", _json(key_mapping(contents.placement)))
        tar.add_bytes("payload_index.json", _json({"schema": contents.schema}))
        tar.close()


def write_shard(
    path: Path, shard: Shard, replicas: Replicas, peer_id: int, *, streamable: bool
) -> None:
    """Write the shard as it is now, without its log; the caller keeps writers away meanwhile."""
    with path.open("wb") as out:
        tar = TarWriter(out)
        shard.flush()
        if streamable:
            for segment in _segments(shard):
                tar.add_folder(f"segments/{segment.name}/files/", segment)
        else:
            _add_segments(tar, "", shard)
        _add_empty_log(tar, shard.operation)
        _add_states(tar, "", replicas, peer_id)
        tar.close()


def _segments(shard: Shard) -> list[Path]:
    """`version.info` is written last: the engine ignores a segment that lacks it."""
    folders = sorted((shard.path / "segments").iterdir())
    return [folder for folder in folders if (folder / "version.info").exists()]


def _add_segments(tar: TarWriter, prefix: str, shard: Shard) -> None:
    for segment in _segments(shard):
        name = f"{prefix}segments/{segment.name}.tar"
        tar.add_nested(name, f"{_INSIDE.as_posix()}/", segment)


def _add_log(tar: TarWriter, prefix: str, shard: Shard) -> None:
    for file in sorted((shard.path / "wal").iterdir()):
        if not file.name.startswith("."):  # `.wal` is the engine's lock
            tar.add_file(f"{prefix}wal/{file.name}", file)


def _add_empty_log(tar: TarWriter, operation: int) -> None:
    """One closed file that says where the log goes on, and has nothing but its header."""
    header = b"wal\0" + secrets.token_bytes(4)
    tar.add_directory("wal/")
    tar.add_sparse(
        f"wal/closed-{operation + 1}", header.ljust(_LOG_HEADER_BLOCK, b"\0"), _LOG_FILE_SIZE
    )


def _add_states(tar: TarWriter, prefix: str, replicas: Replicas, peer_id: int) -> None:
    tar.add_bytes(f"{prefix}replica_state.json", _json(replicas.state_file(peer_id)))
    tar.add_bytes(f"{prefix}shard_config.json", _json({"type": "ReplicaSet"}))


# Laying out.


def extract(path: Path, folder: Path) -> None:
    """Unpack directories and plain or sparse files only, and only below `folder`. Raise ApiError
    500."""
    folder.mkdir(parents=True, exist_ok=True)
    if path.stat().st_size == 0:  # to Qdrant an archive without members
        return
    try:
        tar = tarfile.open(path, "r:")  # noqa: SIM115
    except tarfile.ReadError as error:
        raise service_error(
            "File IO error: Malformed tar archive, reached unknown entry"
        ) from error
    with tar:
        while True:
            try:
                if (member := tar.next()) is None:
                    return
                if not (member.isreg() or member.issparse() or member.isdir()):
                    raise service_error(f"File IO error: forbidden entry `{member.name}`")
                tar.extract(member, folder, filter="data")
            except (tarfile.TarError, OSError) as error:
                name = f"{folder}/{member.name}" if member else str(folder)
                raise service_error(f"File IO error: failed to unpack `{name}`") from error


def lay_out_collection(folder: Path, *, distributed: bool) -> Unpacked:
    """Make the extracted files what the engine can load. Raise ApiError 500 in Qdrant's words."""
    config_file = folder / "config.json"
    if not config_file.exists():
        problem = "No such file or directory (os error 2)"
        raise service_error(f"File IO error: failed to open file `{config_file}`: {problem}")
    config = json.loads(config_file.read_bytes())
    uuid = config.pop("uuid", None)
    schema = _read(folder / "payload_index.json", {"schema": {}})["schema"]
    keys = keys_of(_read(folder / "shard_key_mapping.json", []))
    shards = sorted((p for p in folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
    if not shards:
        raise service_error("No shard found")
    placement: Placement = {}
    local: dict[int, Path] = {}
    for shard in shards:
        number = int(shard.name)
        state = _read(shard / "replica_state.json", {"is_local": False, "peers": {}})
        states = {int(peer): name for peer, name in state["peers"].items()}
        placement[number] = Replicas(states, keys.get(number))
        if lay_out_shard(shard, distributed=distributed):
            local[number] = shard
    return Unpacked(config, schema, uuid, placement, local)


def lay_out_shard(shard: Path, *, distributed: bool) -> bool:
    """Open the nested archives in place: `segments/<uuid>.tar` becomes `segments/<uuid>/`.

    Whether it has data. A node of a cluster is told so, any other refuses: ApiError 500.
    """
    state = _read(shard / "replica_state.json", {"is_local": False})
    if not state["is_local"]:
        if distributed:
            return False
        problem = "Can't restore snapshot in local mode with missing data at shard"
        raise service_error(f"{problem}: {shard}")
    segments = shard / "segments"
    if not (segments.is_dir() and (shard / "wal").is_dir()):
        return False
    for nested in list(segments.glob("*.tar")):
        target = segments / f"{nested.stem}.unpacked"
        extract(nested, target)
        (target / _INSIDE).rename(segments / nested.stem)
        shutil.rmtree(target)
        nested.unlink()
    for streamed in list(segments.glob("*/files")):
        target = streamed.parent.with_suffix(".unpacked")
        streamed.rename(target)
        shutil.rmtree(streamed.parent)
        target.rename(streamed.parent)
    return True


def _read(path: Path, default: Json) -> Json:
    return json.loads(path.read_bytes()) if path.exists() else default


def _json(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
