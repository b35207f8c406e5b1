"""A source, repositories on disk, and the configuration that joins them: for whole runs."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
import yaml

from qdrant_dr import configfile
from qdrant_dr.records import Manifest, RunEnd
from qdrant_dr.repository import create_repository, read_repository
from qdrant_dr.repository.ledger_memory import FOLDER as LEDGERS
from tests.support.stores import Place
from tests.support.thorough import few

Layout = Literal["plain", "chunked", "encrypted"]
LAYOUTS: tuple[Layout, ...] = ("plain", "chunked", "encrypted")


def layouts(daily: Layout) -> list[Any]:
    """Every layout to parametrize with, of which one is tried every day."""
    return few(LAYOUTS, daily)


@dataclass(frozen=True)
class World:
    """`file` is the configuration; `folders` are the repositories, by name."""

    file: Path
    folders: dict[str, Path]

    @property
    def reference(self) -> str:
        return str(self.file)

    def manifests(self, repository: str) -> list[Manifest]:
        """The backups that exist there, by collection, then oldest first: ids of one second have no
        order."""
        found = [
            Manifest.from_bytes(p.read_bytes(), where=str(p))
            for p in self.folders[repository].glob("backups/**/manifest.json")
        ]
        return sorted(found, key=lambda m: (m.collection, m.captured_at))

    def ends(self, repository: str) -> list[RunEnd]:
        """The runs that ended, oldest first."""
        found = [
            RunEnd.from_bytes(p.read_bytes(), where=str(p))
            for p in self.folders[repository].glob("runs/**/*.end.json")
        ]
        return sorted(found, key=lambda end: end.ended_at)

    def spool(self) -> list[Path]:
        """The files of runs on this machine, but for what is remembered of the ledgers."""
        folder = self.file.parent / "spool"
        files = (p for p in folder.rglob("*") if p.is_file())
        return sorted(p for p in files if LEDGERS not in p.relative_to(folder).parts)

    def parts(self, repository: str) -> Iterator[Path]:
        """The files that hold the bytes of backups: in a chunked repository these are packs."""
        folder = self.folders[repository]
        yield from folder.glob("backups/**/*.snapshot")
        yield from folder.glob("packs/**/*.pack")


def make_world(
    folder: Path,
    url: str,
    *,
    repositories: tuple[str, ...] = ("one", "two"),
    layout: Layout = "plain",
    chunked: tuple[str, ...] = (),
    encrypted: tuple[str, ...] = (),
    **sections: Any,
) -> World:
    """Create the repositories in `folder` in one layout, but those `chunked` or `encrypted` in that
    one, and write a configuration; `sections` replace its own."""
    folder.mkdir(parents=True, exist_ok=True)
    folders = {name: folder / name for name in repositories}
    body: dict[str, Any] = {
        "format": 1,
        "cluster": {"name": "shop", "nodes": [url]},
        "repositories": [
            {"name": name, "url": path.as_uri(), "domain": f"disk-{name}"}
            for name, path in folders.items()
        ],
        "copies": {"quorum": len(folders), "domains": len(folders), "stall_timeout": "30s"},
        "capture": {"spool": {"path": str(folder / "spool"), "max": "1GiB"}},
        "report": {"url": str(folder / "reports")},
        **sections,
    }
    file = folder / "qdrant-dr.yaml"
    kinds: dict[str, Layout] = dict.fromkeys(folders, layout)
    kinds |= dict.fromkeys(chunked, "chunked") | dict.fromkeys(encrypted, "encrypted")
    for entry in body["repositories"]:
        if kinds[entry["name"]] == "encrypted":
            entry["key"] = f"file:{folder / entry['name']}.key"
    file.write_text(yaml.safe_dump(body))
    for entry, wanted in zip(body["repositories"], configfile.load(file).repositories, strict=True):
        entry["id"] = create_repository(
            wanted, datetime.now(UTC), encrypt="key" in entry,
            kind="plain" if kinds[wanted.name] == "plain" else "chunked",
        )  # fmt: skip
        if "key" in entry:
            made = read_repository(wanted, stall_timeout=timedelta(seconds=60))
            entry["key_id"] = made.record.key_id
    file.write_text(yaml.safe_dump(body))
    return World(file, folders)


@contextmanager
def lent(world: World) -> Iterator[World]:
    """To a test that changes it: afterwards it is as it was. In the same place, for proofs count
    where they were made."""
    home = world.file.parent
    kept = home.with_name(f"{home.name}-kept")
    if not kept.exists():
        shutil.copytree(home, kept)
    yield world
    shutil.rmtree(home)
    shutil.copytree(kept, home)


def in_store(folder: Path, url: str, place: Place, **options: Any) -> World:
    """The same with one repository in an object store; `options` go over those of the place."""
    folder.mkdir(parents=True, exist_ok=True)
    place_of = place.config("one", **options)
    body: dict[str, Any] = {
        "format": 1,
        "cluster": {"name": "shop", "nodes": [url]},
        "repositories": [
            {"name": "one", "url": place_of.url, "domain": "store", "options": place_of.options}
        ],
        "capture": {"spool": {"path": str(folder / "spool"), "max": "20GiB"}},
        "report": {"url": str(folder / "reports")},
    }
    secrets = folder / "secrets"
    secrets.mkdir()
    options_of = body["repositories"][0]["options"]
    for name in ("key", "secret"):  # plain text is refused
        if name in options_of:
            (secrets / name).write_text(options_of[name])
            options_of[name] = f"file:{secrets / name}"
    file = folder / "qdrant-dr.yaml"
    file.write_text(yaml.safe_dump(body))
    made = configfile.load(file).repositories[0]
    body["repositories"][0]["id"] = create_repository(made, datetime.now(UTC))
    file.write_text(yaml.safe_dump(body))
    return World(file, {})


def seed(url: str, collection: str, *, points: int, api_key: str | None = None) -> None:
    """Make a collection of 8-d vectors with a payload, always the same."""
    rng = random.Random(collection)
    headers = {"api-key": api_key} if api_key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        made = client.put(
            f"/collections/{collection}",
            json={"vectors": {"size": 8, "distance": "Cosine"}},
        )
        made.raise_for_status()
        batch = [
            {
                "id": n,
                "vector": [rng.gauss(0, 1) for _ in range(8)],
                "payload": {"title": f"{collection} {n}", "rank": n % 7},
            }
            for n in range(points)
        ]
        client.put(
            f"/collections/{collection}/points", params={"wait": "true"}, json={"points": batch}
        ).raise_for_status()
