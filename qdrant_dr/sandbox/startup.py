"""Recovery at start, before the port opens: `--snapshot` and `--storage-snapshot`.

As in Qdrant 1.18.3 (src/snapshots.rs): anything wrong ends the process, a collection that exists is
left alone unless forced, aliases come only with a full snapshot, and custom sharding keeps its keys
and points, which recovery over REST loses.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from qdrant_dr.sandbox.archive import extract
from qdrant_dr.sandbox.http import ApiError
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.restoring import start_with

EXIT_CODE = 101
"""What a panic of Qdrant ends with."""

_FORCE = "already exists. Use --force-snapshot to overwrite it."


class StartupError(Exception):
    """The words of Qdrant's panic."""


def recover_at_start(
    node: Node, snapshots: Iterable[str], storage_snapshot: Path | None, *, force: bool
) -> None:
    """Recover a full snapshot, or else collection snapshots given as `FILE:NAME`. Raise
    StartupError."""
    if storage_snapshot:
        _recover_storage(node, storage_snapshot, force=force)
        return
    for told in snapshots:
        path, colon, name = told.partition(":")
        if not colon:
            raise StartupError(f"Collection name is missing: {told}")
        if ":" in name:
            raise StartupError(f"Too many parts in snapshot mapping: {told}")
        _recover_collection(node, Path(path), name, force=force)


def _recover_collection(node: Node, path: Path, name: str, *, force: bool) -> None:
    if node.exists(name) and not force:
        raise StartupError(f"Collection {name} {_FORCE}")
    if not path.is_file():
        problem = f"failed to open file `{path}`: No such file or directory (os error 2)"
        raise StartupError(f"Failed to recover snapshot {name}: File IO error: {problem}")
    try:
        start_with(node, name, path)
    except ApiError as error:
        raise StartupError(f"Failed to recover snapshot {name}: {error.text}") from error


def _recover_storage(node: Node, path: Path, *, force: bool) -> None:
    folder = node.temp / "snapshots_recovery_tmp"
    if not path.is_file():
        raise StartupError(f"failed to open file `{path}`: No such file or directory (os error 2)")
    try:
        extract(path, folder)
        config = json.loads((folder / "config.json").read_bytes())
        for name, file_name in config["collections_mapping"].items():
            _recover_collection(node, folder / file_name, name, force=force)
        for alias, name in config["collections_aliases"].items():
            if not force and any(pair["alias_name"] == alias for pair in node.aliases()):
                raise StartupError(f"Alias {alias} {_FORCE}")
            action = {"create_alias": {"alias_name": alias, "collection_name": name}}
            node.change_aliases([action])
    except (ApiError, OSError, ValueError, KeyError) as error:
        raise StartupError(f"{path} is no full snapshot: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
