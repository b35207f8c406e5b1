"""The servers of the demo: the source, what it held while it lived, and how it dies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

POINTS = 3000


@dataclass(frozen=True)
class Memory:
    """What a server holds: of each collection how many points and the SHA-256 of all their ids and
    payloads; and where each alias leads."""

    points: dict[str, int]
    digests: dict[str, str]
    aliases: dict[str, str]

    @property
    def words(self) -> str:
        """Say what it holds: `movies 1,470, notes 588: 2,058 points in 2 collections; live-movies
        leads to movies`."""
        each = ", ".join(f"{name} {count:,}" for name, count in self.points.items())
        led = "".join(f"; {alias} leads to {name}" for alias, name in self.aliases.items())
        return (
            f"{each}: {sum(self.points.values()):,} points in {len(self.points)} collections{led}"
        )

    def missing(self, other: Memory) -> list[str]:
        """Name what the other does not hold as it was; what it holds besides does not matter."""
        wrong = []
        for name, held in self.points.items():
            if name not in other.points:
                wrong.append(f"{name} is not there")
            elif other.points[name] != held:
                wrong.append(f"{name} has {other.points[name]:,} of {held:,} points")
            elif other.digests[name] != self.digests[name]:
                wrong.append(f"{name} has other ids or payloads")
        return wrong + [
            f"alias {alias} leads to {other.aliases.get(alias, 'nothing')}, not to {name}"
            for alias, name in self.aliases.items()
            if other.aliases.get(alias) != name
        ]


def remember(url: str) -> Memory:
    """Read every point of every collection, as a client does."""
    from qdrant_dr.cluster import Node, collection_names, scroll_points, target_facts

    points, digests = {}, {}
    with Node(url) as node:
        for name in sorted(collection_names(node)):
            total, points[name] = hashlib.sha256(), 0
            for point in scroll_points(node, name):
                content: Any = [point["id"], point["payload"]]
                total.update(json.dumps(content, sort_keys=True).encode() + b"\n")
                points[name] += 1
            digests[name] = total.hexdigest()
        return Memory(points, digests, dict(target_facts(node).aliases))


@dataclass(frozen=True)
class Source:
    """The server that is protected. Yours has no process that we may kill."""

    url: str
    process: Popen[bytes] | None = None
    folder: Path | None = None

    @property
    def ours(self) -> bool:
        """Say whether it belongs to the demo, to be killed in its last act."""
        return self.process is not None

    def change(self) -> str:
        """Write a share of the points of every collection anew, as a day of use does; say so."""
        from qdrant_dr.sandbox.seed import change_demo

        written = change_demo(self.url, points=demo_points())
        each = ", ".join(f"{name} {count:,}" for name, count in written.items())
        return f"{sum(written.values()):,} points are written anew: {each}"

    def die(self) -> str:
        """Kill it without a warning and remove all that it stored; say so."""
        from qdrant_dr.quantities import format_size

        assert self.process is not None
        assert self.folder is not None
        self.process.kill()
        self.process.wait()
        files = [f.stat().st_blocks * 512 for f in self.folder.rglob("*") if f.is_file()]
        shutil.rmtree(self.folder)
        return (
            f"process {self.process.pid} at {self.url} was killed (SIGKILL), its storage removed: "
            f"{len(files)} files, {format_size(sum(files))}"
        )


def demo_points() -> int:
    """Return how many points the collections of the demo share."""
    return int(os.environ.get("DEMO_POINTS", POINTS))


@contextmanager
def source_server(home: Path, yours: str | None) -> Iterator[Source]:
    """Yield the server to protect: yours, or one of ours that is filled first."""
    if yours:
        yield Source(yours.rstrip("/"))
        return
    from qdrant_dr.jobs.target.scratch import child_process
    from qdrant_dr.sandbox.seed import seed_demo

    with child_process(home / "source") as (url, process):
        held = seed_demo(url, points=demo_points())
        each = ", ".join(f"{name} {count:,}" for name, count in held.items())
        say(f"  a small server at {url}, filled with {sum(held.values()):,} points: {each}")
        yield Source(url, process, home / "source")


@contextmanager
def empty_server(folder: Path) -> Iterator[str]:
    """Yield a fresh server on loopback: `$QDRANT_BIN` if it is set, else the sandbox."""
    from qdrant_dr.jobs.target.scratch import child_server

    with child_server(folder) as url:
        yield url


def consent(url: str, place: str) -> None:
    """Print what would be read from the user's server, and stop if it is too much."""
    from qdrant_dr.cluster import Node, estimated_bytes, take_inventory
    from qdrant_dr.config import ClusterConfig
    from qdrant_dr.quantities import format_size, parse_size

    key = "env:QDRANT_API_KEY" if os.environ.get("QDRANT_API_KEY") else None
    found = take_inventory(ClusterConfig(name="demo", nodes=(url,), api_key=key)).collections
    with Node(url, key) as node:
        sizes = {f.collection: estimated_bytes(node, f) for f in found}
    if unknown := [name for name, size in sizes.items() if size is None]:
        raise SystemExit(f"the size of {', '.join(unknown)} cannot be estimated on this server.")
    limit = parse_size(os.environ.get("DEMO_MAX", "2GiB"))
    total = sum(size or 0 for size in sizes.values())
    say(f"  the plan, on {url} (it makes and deletes one snapshot per collection, nothing else):")
    for name, size in sizes.items():
        say(f"    {name}: at most {format_size(size or 0)}, three copies below {place}")
    if total > limit:
        raise SystemExit(
            f"that may be {format_size(total)}; the demo stops at {format_size(limit)}. "
            "set DEMO_MAX to a larger size to go on."
        )


def say(text: str = "") -> None:
    """Print for the person watching, at once."""
    print(text, flush=True)
