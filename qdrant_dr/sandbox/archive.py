"""Collection archives: written from the engine's shard directories, and laid out again.

Layout, in this order: per shard `<n>/segments/<uuid>.tar` (nested, `snapshot/files/...` inside),
`<n>/wal/*`, `<n>/replica_state.json`, `<n>/shard_config.json`; then `version.info`, `config.json`,
`shard_key_mapping.json` and, last, `payload_index.json` (read in Qdrant 1.18.3,
lib/collection/src/collection/snapshots.rs). What is wrong with an uploaded archive is answered with
the words of 1.18.3, which notices no missing tail.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from qdrant_dr.sandbox.http import Json, service_error
from qdrant_dr.sandbox.shard import Shard
from qdrant_dr.sandbox.tar import TarWriter

_COLLECTION_VERSION = b"0.4.2"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What an archive said; `shards` are directories that the engine can load, by shard number."""

    config: dict[str, Json]
    schema: dict[str, Json]
    shards: tuple[Path, ...]


def write_archive(
    path: Path, shards: Sequence[Shard], config: Json, schema: Json, peer_id: int, lock: RLock
) -> None:
    """Shard by shard, as Qdrant does: the segments as one instant left them, then, later, the log.

    Writers wait for `lock` while either is copied, not in between: what they add then is in the
    log alone and is replayed by whoever opens the archive. Nobody else may flush meanwhile, for
    that would tell the log that it is no longer needed.
    """
    with path.open("wb") as out:
        tar = TarWriter(out)
        for shard in shards:
            with lock:
                shard.flush()
                _add_segments(tar, shard)
            with lock:
                _add_log(tar, shard)
            peers = {str(peer_id): "Active"}
            state = {"is_local": True, "this_peer_id": peer_id, "peers": peers}
            tar.add_bytes(f"{shard.number}/replica_state.json", _json(state))
            tar.add_bytes(f"{shard.number}/shard_config.json", _json({"type": "ReplicaSet"}))
        tar.add_bytes("version.info", _COLLECTION_VERSION)
        tar.add_bytes("config.json", _json({**config, "uuid": None}))
        tar.add_bytes("shard_key_mapping.json", _json([]))
        tar.add_bytes("payload_index.json", _json({"schema": schema}))
        tar.close()


def _add_segments(tar: TarWriter, shard: Shard) -> None:
    for segment in sorted((shard.path / "segments").iterdir()):
        if (segment / "version.info").exists():  # written last: the engine ignores what lacks it
            tar.add_nested(
                f"{shard.number}/segments/{segment.name}.tar", "snapshot/files/", segment
            )


def _add_log(tar: TarWriter, shard: Shard) -> None:
    for file in sorted((shard.path / "wal").iterdir()):
        if not file.name.startswith("."):  # `.wal` is the engine's lock
            tar.add_file(f"{shard.number}/wal/{file.name}", file)


def unpack_archive(path: Path, folder: Path) -> Unpacked:
    """Lay a collection archive out below `folder`. Raise ApiError 500 in Qdrant's words."""
    folder.mkdir(parents=True)
    _extract(path, folder)
    config_file = folder / "config.json"
    if not config_file.exists():
        problem = "No such file or directory (os error 2)"
        raise service_error(f"File IO error: failed to open file `{config_file}`: {problem}")
    config = json.loads(config_file.read_bytes())
    config.pop("uuid", None)
    index_file = folder / "payload_index.json"
    index = json.loads(index_file.read_bytes()) if index_file.exists() else {"schema": {}}
    shards = sorted((p for p in folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
    if not shards:
        raise service_error("No shard found")
    for shard in shards:
        _lay_out(shard)
    return Unpacked(config, index["schema"], tuple(shards))


def _lay_out(shard: Path) -> None:
    """Open the nested archives in place: `segments/<uuid>.tar` becomes `segments/<uuid>/`."""
    segments = shard / "segments"
    if not segments.is_dir():
        problem = "Can't restore snapshot in local mode with missing data at shard"
        raise service_error(f"{problem}: {shard}")
    for nested in list(segments.glob("*.tar")):
        target = segments / f"{nested.stem}.unpacked"
        _extract(nested, target)
        (target / "snapshot" / "files").rename(segments / nested.stem)
        shutil.rmtree(target)
        nested.unlink()


def _extract(path: Path, folder: Path) -> None:
    """Only directories and plain or sparse files, only below `folder`. Raise ApiError 500."""
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


def _json(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
