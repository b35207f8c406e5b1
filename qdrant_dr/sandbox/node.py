"""The node: collections, aliases and the files of their snapshots."""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from qdrant_dr.sandbox import files
from qdrant_dr.sandbox.collection import Collection
from qdrant_dr.sandbox.http import ApiError, Json, not_found, service_error, wrong_input
from qdrant_dr.sandbox.peers import Peers
from qdrant_dr.sandbox.placement import Placement, Replicas, ShardKey, one_node, placed
from qdrant_dr.sandbox.tar import TarWriter

_LONGEST_PREFIX = 60
_LONGEST_FILE_NAME = 255


class Node:
    """`data` holds `collections/`, `snapshots/` and `tmp/`; the names above them live in memory."""

    def __init__(self, data: Path, peers: Peers | None = None) -> None:
        self.peers = peers
        self.peer_id = peers.peer_id if peers else secrets.randbelow(2**53)
        self.transfers: list[dict[str, Json]] = []
        self.id = str(uuid4())
        self.grpc_answers: Counter[tuple[str, int]] = Counter()
        self.startup = datetime.now(UTC)
        self.temp = data / "tmp"
        self.temp.mkdir(parents=True, exist_ok=True)
        self.snapshots = data / "snapshots"
        self.snapshots.mkdir()
        self._data = data
        self._collections: dict[str, Collection] = {}
        self._aliases: dict[str, str] = {}
        self._lock = threading.RLock()

    def count_grpc(self, method: str, code: int) -> None:
        """Count one more answer over gRPC, by its status."""
        with self._lock:
            self.grpc_answers[method, code] += 1

    # Collections and aliases.

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._collections)

    def find(self, name: str) -> Collection:
        """Find a collection by name or alias. Raise ApiError 404."""
        with self._lock:
            try:
                return self._collections[self._aliases.get(name, name)]
            except KeyError:
                raise not_found(f"Collection `{name}` doesn't exist!") from None

    def exists(self, name: str) -> bool:
        with self._lock:
            return self._aliases.get(name, name) in self._collections

    def create(self, name: str, config: dict[str, Json], schema: dict[str, Json]) -> Collection:
        """Create an empty collection on all nodes. Raise ApiError 409 if a collection has the name,
        400 if an alias has it.

        With custom sharding it has no shards until keys are created.
        """
        params = config["params"]
        custom = params.get("sharding_method") == "custom"
        count = 0 if custom else params["shard_number"]
        placement = self._place(range(count), params["replication_factor"])
        uuid = str(uuid4()) if self.peers else None
        made = self.make(name, config, placement, uuid, schema)
        told = {"config": config, "placement": placed(placement), "uuid": uuid, "schema": schema}
        for peer in self.tell_peers("PUT", name, "", told):
            self.lose(made, peer, "Initializing")
        return made

    def make(
        self,
        name: str,
        config: dict[str, Json],
        placement: Placement,
        uuid: str | None,
        schema: dict[str, Json],
    ) -> Collection:
        """Make on this node what `create` decided."""
        with self._lock:
            if name in self._collections:
                raise _taken(name)
            if name in self._aliases:
                text = f"Can't create collection with name {name}. "
                raise wrong_input(text + "Alias with the same name already exists")
            made = Collection(name, self._new_folder(), config, self.peer_id, uuid)
            made.register(schema)
            made.add_shards(placement)
            self._collections[name] = made
            return made

    def create_shard_key(self, name: str, key: ShardKey, request: dict[str, Json]) -> None:
        """Make new shards for a key on all nodes; their ids follow the greatest. Raise ApiError
        400."""
        collection = self.find(name)
        params = collection.config["params"]
        if self.peers is None:
            raise ApiError(400, "Bad request: Distributed mode disabled")
        if params.get("sharding_method") != "custom":
            text = "Shard Key cannot be created with Auto sharding method"
            raise ApiError(400, f"Bad request: {text}")
        if any(replicas.key == key for replicas in collection.placement.values()):
            told = json.dumps(key, ensure_ascii=False)
            text = f"Sharding key {told} already exists for collection {collection.name}"
            raise ApiError(400, f"Bad request: {text}")
        for peer in request.get("placement") or []:
            if peer not in self.peers.ids():
                raise ApiError(400, f"Bad request: Peer {peer} does not exist")
        first = max(collection.placement, default=0) + 1
        count = request.get("shards_number") or params["shard_number"]
        factor = request.get("replication_factor") or params["replication_factor"]
        numbers = range(first, first + count)
        placement = {
            number: Replicas(replicas.states, key)
            for number, replicas in self._place(numbers, factor, request.get("placement")).items()
        }
        collection.add_shards(placement)
        self.tell_peers("PUT", name, "/shards", {"placement": placed(placement)})

    def drop_shard_key(self, name: str, key: ShardKey) -> None:
        """Drop a shard key on this node. Raise ApiError 400."""
        collection = self.find(name)
        gone = [n for n, replicas in collection.placement.items() if replicas.key == key]
        if not gone:
            told = json.dumps(key, ensure_ascii=False)
            text = f"Sharding key {told} does not exist for collection {collection.name}"
            raise ApiError(400, f"Bad request: {text}")
        collection.drop_shards(gone)

    def _place(
        self, numbers: Iterable[int], factor: int, allowed: Sequence[int] | None = None
    ) -> Placement:
        """Round robin over the peers in the order of their ids."""
        if self.peers is None:
            return one_node(numbers, self.peer_id)
        peers = sorted(allowed or self.peers.ids())
        return {
            number: Replicas(
                {
                    peers[(number + replica) % len(peers)]: "Active"
                    for replica in range(min(factor, len(peers)))
                }
            )
            for number in numbers
        }

    # The cluster.

    def tell_peers(self, method: str, name: str, rest: str, body: Json) -> list[int]:
        """Tell all others what this node decided about a collection, and return who missed it."""
        if self.peers is None:
            return []
        path = f"/collections/{quote(name, safe='')}/sandbox{rest}"
        return self.peers.spread(method, path, json.dumps(body).encode())

    def lose(self, collection: Collection, peer: int, state: str) -> None:
        """Put all replicas of a peer that missed something into that state, on all nodes."""
        for shard, replicas in collection.placement.items():
            if peer in replicas.states:
                self.set_state(collection, shard, peer, state)

    def set_state(self, collection: Collection, shard: int, peer: int, state: str) -> None:
        """Set the state of one replica on all nodes."""
        collection.set_state(shard, peer, state)
        told = {"shard": shard, "peer": peer, "state": state}
        self.tell_peers("POST", collection.name, "/state", told)

    def placement(self, collection: Collection) -> Placement:
        """Return who holds what, with the states that the topology file scripts."""
        script = self.peers.scripted(collection.name).get("states", {}) if self.peers else {}
        laid: Placement = {}
        for number, replicas in collection.placement.items():
            said = {int(peer): state for peer, state in script.get(str(number), {}).items()}
            states = {**replicas.states, **said}
            there = {peer: state for peer, state in states.items() if state is not None}
            laid[number] = Replicas(there, replicas.key)
        return laid

    def readable(self, collection: Collection, shard: int) -> list[int]:
        """Return the peers that answer reads of a shard, this one first."""
        peers = self.placement(collection)[shard].readable()
        return sorted(peers, key=lambda peer: peer != self.peer_id)

    def collection_cluster(self, collection: Collection) -> dict[str, Json]:
        told = collection.cluster(self.placement(collection))
        with self._lock:
            running = [t for t in self.transfers if t["collection"] == collection.name]
        shown = [{k: v for k, v in t.items() if k != "collection"} for t in running]
        scripted = self.peers.scripted(collection.name) if self.peers else {}
        return {**told, "shard_transfers": [*shown, *scripted.get("shard_transfers", [])]}

    def delete(self, name: str) -> bool:
        """Delete a collection. Its snapshots stay, out of reach until the name exists again, as in
        Qdrant."""
        with self._lock:
            collection = self._collections.pop(name, None)
            self._aliases = {a: c for a, c in self._aliases.items() if c != name}
        if collection:
            collection.drop()
        return collection is not None

    def aliases(self, name: str | None = None) -> list[dict[str, str]]:
        with self._lock:
            pairs = sorted(self._aliases.items())
        return [
            {"alias_name": alias, "collection_name": collection}
            for alias, collection in pairs
            if name in (None, collection)
        ]

    def change_aliases(self, actions: Json) -> None:
        """Change all of them or, if one is refused, those before it, as Qdrant does."""
        with self._lock:
            for action in actions:
                ((kind, told),) = action.items()
                if kind == "create_alias":
                    self._create_alias(told["alias_name"], told["collection_name"])
                elif kind == "delete_alias":
                    self._aliases.pop(told["alias_name"], None)
                elif kind == "rename_alias":
                    old = told["old_alias_name"]
                    if old not in self._aliases:
                        raise not_found(f"Alias {old} does not exists!")
                    self._aliases[told["new_alias_name"]] = self._aliases.pop(old)
                else:
                    raise ApiError(400, f"Format error in JSON body: unknown action `{kind}`")

    def _create_alias(self, alias: str, name: str) -> None:
        if name not in self._collections:
            raise not_found(f"Collection `{name}` doesn't exist!")
        if alias in self._collections:
            raise _taken(alias)
        self._aliases[alias] = name

    # Snapshots.

    def create_snapshot(self, name: str) -> dict[str, Json]:
        collection = self.find(name)
        file_name = f"{collection.name}-{self.peer_id}-{files.stamp()}.snapshot"
        _must_fit(f"{file_name}-arc-XXXXXX")
        final = self.snapshot_folder(collection.name) / file_name
        return self._build(collection.write_snapshot, final)

    def create_shard_snapshot(self, name: str, shard: int) -> dict[str, Json]:
        collection = self.find(name)
        file_name = _shard_snapshot_name(collection, shard)
        _must_fit(f"{file_name}-temp-XXXXXX")
        final = self.shard_snapshot_folder(name, shard) / file_name
        return self._build(lambda path: collection.write_shard(shard, path), final)

    def stream_shard(self, name: str, shard: int) -> tuple[Path, str]:
        """Return a temporary file, to be removed by the caller, and the name that the download
        gets."""
        collection = self.find(name)
        _must_fit(f"{_shard_snapshot_name(collection, shard)}-temp-XXXXXX")
        built = self.temp_file()
        collection.write_shard(shard, built, streamable=True)
        return built, _shard_snapshot_name(collection, shard)

    def create_full_snapshot(self) -> dict[str, Json]:
        """Snapshot one collection after the other, then put all of them and the aliases into one
        archive.

        As in Qdrant, the files of the collections go and their checksum files stay behind.
        """
        made = {name: self.create_snapshot(name)["name"] for name in self.names()}
        aliases = {pair["alias_name"]: pair["collection_name"] for pair in self.aliases()}

        def build(path: Path) -> None:
            with path.open("wb") as out:
                tar = TarWriter(out)
                for name, file_name in made.items():
                    moved = self.temp_file()
                    (self.snapshot_folder(name) / file_name).rename(moved)
                    tar.add_file(file_name, moved)
                    moved.unlink()
                config = {"collections_mapping": made, "collections_aliases": aliases}
                tar.add_bytes("config.json", json.dumps(config, ensure_ascii=False).encode())
                tar.close()

        return self._build(build, self.snapshots / f"full-snapshot-{files.stamp()}.snapshot")

    def _build(self, write: Callable[[Path], None], final: Path) -> dict[str, Json]:
        """Built aside, then renamed: it is listed whole or not at all."""
        building = self.temp_file()
        try:
            write(building)
            return files.store(building, final)
        finally:
            building.unlink(missing_ok=True)

    def snapshot_folder(self, name: str) -> Path:
        """Return the folder of a collection that exists, by name or alias, or of the one that has
        the name."""
        name = self._aliases.get(name, name)
        plain = name not in (".", "..", "") and "/" not in name and name != "tmp"
        return self.snapshots / (name if plain else hashlib.sha256(name.encode()).hexdigest())

    def shard_snapshot_folder(self, name: str, shard: int) -> Path:
        """Raise ApiError 404 for a collection or a shard that is not there."""
        self.find(name).require_shard(shard)
        return self.snapshot_folder(name) / "shards" / f"{shard}"

    def temp_file(self) -> Path:
        return self.temp / uuid4().hex

    def temp_folder(self, prefix: str) -> Path:
        safe = prefix.replace("/", "_")[-_LONGEST_PREFIX:]
        return Path(tempfile.mkdtemp(prefix=safe, dir=self.temp))

    def close(self) -> None:
        if self.peers:
            self.peers.close()
        for name in self.names():
            self.delete(name)

    def _new_folder(self) -> Path:
        return self._data / "collections" / uuid4().hex


def _shard_snapshot_name(collection: Collection, shard: int) -> str:
    return f"{collection.name}-shard-{shard}-{files.stamp()}.snapshot"


def _must_fit(building: str) -> None:
    """The name under which a server makes a snapshot. Raise ApiError 500 if no disk takes it."""
    if len(building.encode()) > _LONGEST_FILE_NAME:
        text = f'failed to create {building}: File name too long (os error 36) at path "{building}"'
        raise service_error(text)


def _taken(name: str) -> ApiError:
    return ApiError(409, f"Wrong input: Collection `{name}` already exists!")
