"""The other nodes of a scripted cluster: who they are, and talking to them over REST.

A sandbox has no consensus. The node that is asked to change what all must know applies the change
and then repeats the request at every other node, with a header that says so; a peer that cannot be
reached misses it. `--topology` names a JSON file:

    {"peer_id": 1, "peers": {"1": {"uri": p2p address, "url": REST address}, "2": ...},
     "collections": {"movies": {"states": {"0": {"2": "Dead"}}, "shard_transfers": [...]}}}

`collections` is optional and read again for every answer, so that a test can write the script of a
replica that dies: `states` are laid over those that the node knows, by shard and peer; `null` is
one that was moved away.

A replica that lacks points, though all nodes call it Active, is made by a write to its node with
the header `x-sandbox-peer`: it is taken for one that a peer repeats, and stays there alone.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx

from qdrant_dr.sandbox.http import ApiError, Json

FROM_PEER = "x-sandbox-peer"
"""The header of a request that a peer repeats: it is not spread again, and read where it is."""
_TIMEOUT = httpx.Timeout(60, connect=2)


class Unreachable(ApiError):
    """A peer does not answer."""

    def __init__(self, peer: int, why: object) -> None:
        super().__init__(500, f"Service internal error: peer {peer} cannot be reached: {why}")


class Peers:
    """Raise OSError, ValueError or KeyError for a topology that cannot be used."""

    def __init__(self, path: Path, api_key: str | None = None) -> None:
        told = json.loads(path.read_bytes())
        self.peer_id = int(told["peer_id"])
        self._path = path
        self._peers: dict[int, dict[str, str]] = {int(p): a for p, a in told["peers"].items()}
        self._failures: dict[str, dict[str, Json]] = {}
        self._lock = threading.Lock()
        headers = {FROM_PEER: f"{self.peer_id}"} | ({"api-key": api_key} if api_key else {})
        self._client = httpx.Client(timeout=_TIMEOUT, trust_env=False, headers=headers)

    def ids(self) -> list[int]:
        return sorted(self._peers)

    def cluster(self) -> dict[str, Json]:
        """`GET /cluster`. The lowest id leads."""
        leader = min(self._peers)
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        with self._lock:
            failures = dict(self._failures)
        return {
            "status": "enabled",
            "peer_id": self.peer_id,
            "peers": {str(peer): {"uri": told["uri"]} for peer, told in self._peers.items()},
            "raft_info": {
                "term": 1,
                "commit": 1,
                "pending_operations": 0,
                "leader": leader,
                "role": "Leader" if leader == self.peer_id else "Follower",
                "is_voter": True,
            },
            "consensus_thread_status": {"consensus_thread_status": "working", "last_update": now},
            "message_send_failures": failures,
        }

    def scripted(self, collection: str) -> dict[str, Json]:
        """Return what the topology file says now of a collection; `{}` if it says nothing."""
        scripts = json.loads(self._path.read_bytes()).get("collections", {})
        script: dict[str, Json] = scripts.get(collection, {})
        return script

    def ask(self, peer: int, method: str, path: str, body: Json = None) -> Json:
        """Return the `result` of one peer. Raise ApiError: its own, or Unreachable."""
        return self._result(self._send(peer, method, path, json=body))

    def spread(self, method: str, path: str, content: bytes = b"") -> list[int]:
        """Send the same request to all others, and return those that could not be reached and
        missed it.

        Raise ApiError when one refuses.
        """
        missed = []
        for peer in self.ids():
            if peer == self.peer_id:
                continue
            headers = {"content-type": "application/json"}
            try:
                response = self._send(peer, method, path, content=content, headers=headers)
            except Unreachable as error:
                self._note(self._peers[peer]["uri"], error.text)
                missed.append(peer)
            else:
                self._result(response)
        return missed

    def upload(self, peer: int, path: str, archive: Path) -> None:
        """Send one file as multipart. Raise ApiError."""
        with archive.open("rb") as source:
            files = {"snapshot": ("transfer.snapshot", source)}
            self._result(self._send(peer, "POST", path, files=files))

    def download(self, peer: int, path: str, target: Path) -> None:
        """Raise ApiError."""
        response = self._send(peer, "GET", path)
        if not response.is_success:
            raise ApiError(response.status_code, response.text)
        target.write_bytes(response.content)

    def close(self) -> None:
        self._client.close()

    def _send(self, peer: int, method: str, path: str, **what: Json) -> httpx.Response:
        try:
            return self._client.request(method, f"{self._peers[peer]['url']}{path}", **what)
        except httpx.HTTPError as error:
            raise Unreachable(peer, error) from error

    def _result(self, response: httpx.Response) -> Json:
        told = response.json()
        if response.is_success:
            return told["result"]
        raise ApiError(response.status_code, told["status"]["error"])

    def _note(self, uri: str, text: str) -> None:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        with self._lock:
            count = self._failures.get(uri, {"count": 0})["count"] + 1
            self._failures[uri] = {
                "count": count,
                "latest_error": text,
                "latest_error_timestamp": now,
            }
