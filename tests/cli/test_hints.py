"""Hints lead out: from each bad state, what is printed is run, as it stands, at most three times.

It ends green, or at what only a person can do or decide, and is named as such. No command comes
twice on one way.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from qdrant_dr.cli import main
from qdrant_dr.configfile import VARIABLE
from qdrant_dr.hints import step_of
from qdrant_dr.layout import run_start
from qdrant_dr.records import RunStart
from tests.support.planting import plant
from tests.support.servers import Server, sandbox_server
from tests.support.trail import decides, follow, printed
from tests.support.world import World, make_world, seed

NOT_THERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sandbox_server(tmp_path_factory.mktemp("source")) as server:
        seed(server.url, "movies", points=40)
        yield server


@dataclass(frozen=True)
class Place:
    """A world after one good backup, that can be brought back however it was broken."""

    world: World
    folder: Path
    kept: Path

    def fresh(self) -> World:
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)  # where it was: proofs are of a location
        return self.world


def place(folder: Path, url: str, *repositories: str) -> Place:
    world = make_world(
        folder / "w", url, repositories=repositories, collections={"include": ["movies"]}
    )
    assert main(["backup", "-q", "-c", world.reference]) == 0
    shutil.copytree(folder / "w", folder / "kept")
    return Place(world, folder / "w", folder / "kept")


@pytest.fixture(scope="module")
def two(source: Server, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return place(tmp_path_factory.mktemp("two"), source.url, "one", "two")


@pytest.fixture(scope="module")
def alone(source: Server, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return place(tmp_path_factory.mktemp("alone"), source.url, "one")


Run = Callable[..., Any]


@pytest.fixture
def run(qdr: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[World], Run]:
    """Commands without a word of ours: the configuration is found as a user's is."""

    def of(world: World) -> Run:
        monkeypatch.setenv(VARIABLE, world.reference)
        return qdr

    return of


def rot(world: World, *repositories: str) -> None:
    """One byte of each copy there is another one."""
    for name in repositories:
        for part in world.parts(name):
            data = bytearray(part.read_bytes())
            data[len(data) // 2] ^= 1
            part.write_bytes(data)


def home(world: World, repository: str) -> Path:
    (manifest,) = world.manifests(repository)
    return world.folders[repository] / "backups" / manifest.key.folder


def change(world: World, **sections: Any) -> None:
    body = yaml.safe_load(world.file.read_text())
    world.file.write_text(yaml.safe_dump({**body, **sections}))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


# states that commands alone lead out of


def no_part(world: World) -> None:
    next(world.parts("two")).unlink()


def no_copy(world: World) -> None:
    shutil.rmtree(home(world, "two"))


def no_backups(world: World) -> None:
    for folder in world.folders.values():
        for below in ("backups", "proofs", "runs"):
            shutil.rmtree(folder / below)


def killed(world: World) -> None:
    """A run of two days ago that never ended, and that no later one makes up for."""
    for folder in world.folders.values():
        known = next(folder.glob("runs/**/*.start.json"))
        start = RunStart.from_bytes(known.read_bytes(), where="")
        at = datetime.now(UTC) - timedelta(days=2)
        run_id = f"{at:%Y%m%dT%H%M%SZ}-0badf0"
        new = {"run_id": run_id, "started_at": at, "job": "verify", "parameters": {}}
        dead = start.model_copy(update=new)
        file = folder / run_start(run_id, at)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dead.to_bytes())


def no_seals(world: World) -> None:
    """Taken, and never looked at."""
    for name, folder in world.folders.items():
        (home(world, name) / "seal.json").unlink()
        shutil.rmtree(folder / "proofs")
        shutil.rmtree(folder / "runs")


def cut_seal(world: World) -> None:
    cut(home(world, "two") / "seal.json")


def cut_manifest(world: World) -> None:
    cut(home(world, "two") / "manifest.json")


def cut_proof(world: World) -> None:
    cut(next(world.folders["two"].glob("proofs/**/*.json")))


BROKEN: dict[str, tuple[Callable[[World], None], tuple[str, ...], int]] = {
    "a copy was damaged, and seen by verify": (
        lambda w: rot(w, "two"), ("verify", "--depth", "bytes", "-q"), 1
    ),
    "a copy was damaged, and seen by a drill": (
        lambda w: rot(w, "one", "two"), ("drill", "movies", "-q"), 3
    ),
    "every copy was damaged": (
        lambda w: rot(w, "one", "two"), ("verify", "--depth", "bytes", "-q"), 3
    ),
    "a part of a copy is gone": (no_part, ("status",), 1),
    "a copy is gone": (no_copy, ("status",), 1),
    "there never was a backup": (no_backups, ("status",), 1),
    "a run was killed": (killed, ("status",), 1),
    "nothing is proven": (no_seals, ("status",), 2),
    "a seal was cut": (cut_seal, ("status",), 1),
    "a manifest was cut": (cut_manifest, ("status",), 1),
    "a proof was cut": (cut_proof, ("status",), 1),
}  # fmt: skip


@pytest.mark.parametrize("state", BROKEN)
def test_commands_lead_out(state: str, two: Place, run: Any) -> None:
    broken, first, most = BROKEN[state]
    world = two.fresh()
    broken(world)
    trail = follow(run(world), *first)
    assert trail.green or decides(trail), trail
    assert 0 < len(trail.commands) <= most, trail


# states that a person ends


def away(world: World) -> Callable[[], None]:
    """An unmounted disk."""
    there = world.folders["two"]
    there.rename(there.with_name("unmounted"))
    return lambda: there.with_name("unmounted").rename(there) and None


def config_of(world: World, **sections: Any) -> Callable[[], None]:
    before = world.file.read_text()
    change(world, **sections)
    return lambda: world.file.write_text(before) and None


def other_id(world: World) -> Callable[[], None]:
    body = yaml.safe_load(world.file.read_text())
    entries = body["repositories"]
    entries[1]["id"] = "0badf00d"
    return config_of(world, repositories=entries)


def silent(world: World) -> Callable[[], None]:
    return config_of(world, cluster={"name": "shop", "nodes": [NOT_THERE]})


def no_key(world: World) -> Callable[[], None]:
    nodes = yaml.safe_load(world.file.read_text())["cluster"]["nodes"]
    return config_of(world, cluster={"name": "shop", "nodes": nodes, "api_key": "env:QDR_NOT_SET"})


def little_room(world: World) -> Callable[[], None]:
    spool = yaml.safe_load(world.file.read_text())["capture"]["spool"]
    return config_of(world, capture={"spool": {**spool, "max": "1KiB"}})


def not_yaml(world: World) -> Callable[[], None]:
    before = world.file.read_text()
    world.file.write_text("format: 1\nclustr: {}\n")
    return lambda: world.file.write_text(before) and None


BY_HAND: dict[str, tuple[Callable[[World], Callable[[], None]], tuple[str, ...], str]] = {
    "a repository is away": (away, ("status",), "repository-missing"),
    "a repository is another": (other_id, ("status",), "repository-mismatch"),
    "no node answers": (silent, ("backup", "-q"), "node-unreachable"),
    "a key is not there": (no_key, ("backup", "-q"), "secret-missing"),
    "the spool is too small": (little_room, ("backup", "-q"), "archive-too-large"),
    "the configuration is wrong": (not_yaml, ("status",), "config-invalid"),
}  # fmt: skip


@pytest.mark.parametrize("state", BY_HAND)
def test_what_a_person_must_do_is_said_and_then_commands_lead_out(
    state: str, two: Place, run: Any
) -> None:
    broken, first, _ = BY_HAND[state]
    world = two.fresh()
    mend = broken(world)
    done: list[str] = []
    go, green = run(world), ("status",) if first == ("status",) else ("backup", "-q")
    alone = follow(go, *first, green=green)
    assert alone.person is not None, alone
    assert alone.person.kind == "by hand", alone
    trail = follow(go, *first, by_hand=lambda: done.append("mended") or mend(), green=green)
    assert trail.green, trail
    assert done == ["mended"]


def lost(world: World) -> None:
    for name in world.folders:
        (home(world, name) / "manifest.json").unlink()


def conflict(world: World) -> None:
    (manifest,) = world.manifests("two")
    other = manifest.model_copy(update={"note": "not ours"})
    (home(world, "two") / "manifest.json").write_bytes(other.to_bytes())


def planted(world: World) -> None:
    (manifest,) = world.manifests("one")
    plant(world, "one", manifest)


def cut_run(world: World) -> None:
    for folder in world.folders.values():
        cut(next(folder.glob("runs/**/*.end.json")))


CHOICES: dict[str, tuple[Callable[[World], None], tuple[str, ...]]] = {
    "the manifest is lost": (lost, ("status",)),
    "two manifests of one backup": (conflict, ("status",)),
    "a backup that one bucket alone tells of": (planted, ("status",)),
    "the record of a run was cut": (cut_run, ("status",)),
}


@pytest.mark.parametrize("state", CHOICES)
def test_a_choice_is_named_as_one(state: str, two: Place, run: Any) -> None:
    broken, first = CHOICES[state]
    world = two.fresh()
    broken(world)
    trail = follow(run(world), *first)
    assert decides(trail), trail


def test_the_only_copy_is_damaged(alone: Place, run: Any) -> None:
    """The way that once led in a circle: no other copy heals it, so a new backup is made; what is
    to become of the old one is for a person, and then every command is green."""
    world = alone.fresh()
    (bad,) = world.manifests("one")
    rot(world, "one")
    go = run(world)
    trail = follow(go, "verify", "--depth", "bytes", "-q")
    assert trail.commands == ["qdrant-dr backup movies"]
    assert decides(trail), trail
    assert "replicate" not in " ".join(trail.said)
    assert go("replicate", "-q").code == 1
    fill = {"WHY": "the disk of August"}
    trail = follow(go, "status", by_hand=lambda: None, fill=fill)
    assert trail.green, trail
    assert [c.split()[1] for c in trail.commands] == ["acknowledge", "verify", "replicate"]
    assert go("verify", "--depth", "bytes", "-q").code == 0
    for words in ((), ("--execute",)):
        kept = go("expire", str(bad.key), *words)
        assert kept.code == 0
        assert "stays: younger than 2 d, until 20" in kept.out
        assert "last 2 of 7, until 6 newer are made" in kept.out
        assert "daily" not in kept.out, "of a day the newest proven one is kept"


def test_a_new_repository_gets_its_copies(two: Place, run: Any) -> None:
    from qdrant_dr import configfile
    from qdrant_dr.repository import create_repository

    world = two.fresh()
    body = yaml.safe_load(world.file.read_text())
    third = {"name": "three", "url": (two.folder / "three").as_uri(), "domain": "disk-three"}
    body["repositories"].append(third)
    body["copies"] |= {"quorum": 3, "domains": 3}
    world.file.write_text(yaml.safe_dump(body))
    third["id"] = create_repository(configfile.load(world.file).repositories[2], datetime.now(UTC))
    world.file.write_text(yaml.safe_dump(body))
    trail = follow(run(world), "status")
    assert trail.green, trail
    assert [c.split()[1] for c in trail.commands] == ["replicate"]


def test_a_suspect_backup_is_accepted_or_not(source: Server, tmp_path: Path, run: Any) -> None:
    seed(source.url, "shrinking", points=40)
    world = make_world(tmp_path / "w", source.url, collections={"include": ["shrinking"]})
    go = run(world)
    assert go("backup", "-q").code == 0
    httpx.post(
        f"{source.url}/collections/shrinking/points/delete?wait=true",
        json={"points": list(range(30))}, timeout=30,
    ).raise_for_status()  # fmt: skip
    trail = follow(go, "backup", "-q")
    assert decides(trail), trail
    trail = follow(go, "status", by_hand=lambda: None, fill={"WHY": "spring cleaning"})
    assert trail.green, trail


def test_a_collection_that_is_gone(source: Server, tmp_path: Path, run: Any) -> None:
    seed(source.url, "leaving", points=10)
    world = make_world(tmp_path / "w", source.url, collections={"include": ["leaving", "movies"]})
    go = run(world)
    assert go("backup", "-q").code == 0
    httpx.delete(f"{source.url}/collections/leaving", timeout=30).raise_for_status()
    trail = follow(go, "backup", "-q")
    assert decides(trail), trail
    assert "restore leaving@latest-proven" in trail.said[-1]


def test_nothing_is_configured_yet(tmp_path: Path, qdr: Any) -> None:
    """A new user's first commands, one behind the other."""
    trail = follow(qdr, "status")
    assert trail.person is not None
    assert trail.commands[0] == "qdrant-dr init"


def test_a_wrong_key(two: Place, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDR_TEST_KEY", "wrong")
    with sandbox_server(tmp_path / "locked", api_key="right") as locked:
        seed(locked.url, "movies", points=10, api_key="right")
        world = two.fresh()
        change(
            world, cluster={"name": "shop", "nodes": [locked.url], "api_key": "env:QDR_TEST_KEY"}
        )
        trail = follow(
            run(world), "backup", "-q", green=("check", "-q"),
            by_hand=lambda: monkeypatch.setenv("QDR_TEST_KEY", "right"),
        )  # fmt: skip
    assert trail.said[0].startswith("by hand: check the key that `cluster.api_key` refers to")
    assert trail.green, trail


@pytest.mark.parametrize(
    "words",
    [("show", "movies@2020"), ("verify", "nothing@latest"), ("restore", "m@1", "--to", "x")],
)
def test_what_is_not_there_is_for_a_person_to_name(
    words: tuple[str, ...], two: Place, run: Any
) -> None:
    said = run(two.fresh())(*words, "-q")
    assert said.code != 0
    assert step_of(printed(said)[0]).kind in ("decide", "by hand"), said.err


def test_every_next_step_names_its_help(two: Place, run: Any) -> None:
    world = two.fresh()
    go = run(world)
    assert go("verify", "--seed", "x").err.endswith("HELP: qdrant-dr verify --help\n")
    no_copy(world)
    assert go("status").err.endswith("HELP: qdrant-dr replicate --help\n")
    assert go("replicate", "-q").err == "", "nothing is next, and nothing is said"
