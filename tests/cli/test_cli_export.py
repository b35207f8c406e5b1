"""`export`: files that pyarrow alone reads, equal to the seal, put once and committed last."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from qdrant_dr.errors import Interrupted
from qdrant_dr.jobs.export.destination import Destination
from qdrant_dr.proof.fingerprint import add, differences, fingerprint_of
from qdrant_dr.records import Exported, Seal
from qdrant_dr.records.export import ExportManifest
from tests.cli.conftest import Command
from tests.support.archives import put_together, take_apart
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.world import World, lent, make_world

SETS = ("rich", "sharded")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    with ReplaySource(list(SETS)) as source:
        world = make_world(
            tmp_path_factory.mktemp("export"), source.url,
            repositories=("plain", "vault"), chunked=("vault",),
        )  # fmt: skip
        end = do(world, "backup", prove="content")
        assert end.verdict == "ok", end.reasons
    return world


@pytest.fixture
def world(made: World) -> Iterator[World]:
    with lent(made) as mine:
        yield mine


def names(world: World) -> list[str]:
    return [m.collection for m in world.manifests("plain")]


def seal_of(world: World, collection: str) -> Seal:
    (manifest,) = (m for m in world.manifests("plain") if m.collection == collection)
    (path,) = world.folders["plain"].glob(f"**/{manifest.backup_id}/seal.json")
    return Seal.from_bytes(path.read_bytes(), where=str(path))


def manifest_at(out: Path) -> ExportManifest:
    return ExportManifest.from_bytes((out / "manifest.json").read_bytes(), where=str(out))


def numbers(value: Any) -> Any:
    if value is None or isinstance(value, dict):
        return value
    return [numbers(v) if isinstance(v, list) else float(v) for v in value]


def lines_of(file: Path) -> list[str]:
    return file.read_text().split("\n")[:-1]


def read_by_a_stranger(out: Path) -> list[dict[str, Any]]:
    """The points of an export, with pyarrow and what lies beside the files."""
    about = json.loads((out / "export.json").read_bytes())
    points = []
    for file in sorted(out.glob("shard-*")):
        if about["form"] == "ndjson":
            points += [json.loads(line) for line in lines_of(file)]
            continue
        for row in pq.read_table(file).to_pylist():
            vectors = {
                name: numbers(row[column])
                for column, name in about["vectors"].items()
                if row[column] is not None
            }
            point_id = row["id"] if "-" in row["id"] else int(row["id"])
            payload = None if row["payload"] is None else json.loads(row["payload"])
            points.append({"id": point_id, "payload": payload, "vector": vectors})
    return points


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_an_export_is_what_was_sealed(
    world: World, qdr: Command, tmp_path: Path, form: str
) -> None:
    for collection in names(world):
        out = tmp_path / collection
        said = qdr(
            "-c", world.file, "export", f"{collection}@latest", "--out", out,
            "--format", form, "--json",
        )  # fmt: skip
        assert said.code == 0, said
        seal = seal_of(world, collection)
        assert differences(seal.total, fingerprint_of(read_by_a_stranger(out))) == []
        manifest = manifest_at(out)
        assert (manifest.equal, manifest.points) == (True, seal.points)
        assert manifest.fingerprint == seal.total
        assert {f.name: f.sha256 for f in manifest.files} == {
            f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in out.glob("shard-*")
        }
        (end,) = (e for e in world.ends("plain") if e.start.run_id == said.json["run_id"])
        (outcome,) = end.outcomes
        assert isinstance(outcome.detail, Exported)
        assert outcome.detail.fingerprint_equal
        assert outcome.detail.manifest_sha256 == manifest.sha256
        assert outcome.detail.destination == f"file:///{out}".replace("////", "///")


def test_nothing_is_ever_overwritten(world: World, qdr: Command, tmp_path: Path) -> None:
    collection = names(world)[0]
    command = ("-c", world.file, "export", f"{collection}@latest", "--out", tmp_path / "out")
    assert qdr(*command).code == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    again = qdr(*command)
    assert again.code == 4
    assert "there is an export at" in again.err
    assert {p: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    said = qdr("-c", world.file, "export", f"{collection}@latest", "--out", other)
    assert said.code == 4
    assert "is not empty: letter.txt" in said.err
    inside = world.folders["plain"] / "export"
    said = qdr("-c", world.file, "export", f"{collection}@latest", "--out", inside)
    assert said.code == 4
    assert "lies inside a repository" in said.err
    assert not list(world.folders["plain"].glob("export*"))


def collection_of(world: World, shards: int) -> str:
    """The name of the collection with so many shards."""
    (found,) = (m.collection for m in world.manifests("plain") if len(m.shards) == shards)
    return found


def test_a_killed_export_has_no_manifest_and_goes_on(
    world: World, qdr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, out = collection_of(world, 3), tmp_path / "out"
    command = ("-c", world.file, "export", f"{collection}@latest", "--out", out)
    put, files = Destination.put, []

    def dies(self: Destination, file: Path, name: str, sha256: str) -> bool:
        if files:
            raise Interrupted("asked to stop")
        files.append(name)
        return put(self, file, name, sha256)

    with monkeypatch.context() as patch:
        patch.setattr(Destination, "put", dies)
        said = qdr(*command)
    assert said.code == 1
    assert "run the same command again" in said.err
    assert {p.name for p in out.iterdir()} == {"export.json", *files}
    other = qdr(*command, "--format", "ndjson")
    assert other.code != 0
    assert "another export was begun at" in other.err
    (first,) = (out / name for name in files)
    written = first.stat().st_mtime_ns
    said = qdr(*command, "--json")
    assert said.code == 0, said
    assert "continued an export that was interrupted" in said.out
    assert first.stat().st_mtime_ns == written
    assert manifest_at(out).fingerprint == seal_of(world, collection).total


def test_a_file_that_was_changed_meanwhile_is_not_taken_for_ours(
    world: World, qdr: Command, tmp_path: Path
) -> None:
    collection, out = collection_of(world, 3), tmp_path / "out"
    command = ("-c", world.file, "export", f"{collection}@latest", "--out", out)
    assert qdr(*command).code == 0
    (out / "manifest.json").unlink()
    (out / "shard-1.parquet").write_bytes(b"something else")
    said = qdr(*command)
    assert said.code == 1
    assert "shard-1.parquet is there already, with other bytes" in said.err
    assert not (out / "manifest.json").exists()


def test_a_bad_copy_gives_way_to_a_good_one(world: World, qdr: Command, tmp_path: Path) -> None:
    collection = collection_of(world, 3)
    for part in world.folders["plain"].glob("backups/**/*.snapshot"):
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 1
        part.write_bytes(data)
    said = qdr("-c", world.file, "export", f"{collection}@latest", "--out", tmp_path / "out")
    assert said.code == 0, said
    assert "not from plain" in said.out
    assert manifest_at(tmp_path / "out").equal


def test_another_content_than_the_sealed_one_is_never_an_export(
    world: World, qdr: Command, tmp_path: Path
) -> None:
    """Whoever holds the keys can replace an archive and its manifest; the seal tells."""
    collection = collection_of(world, 3)
    seal = seal_of(world, collection)
    one, two, *rest = seal.shards
    swapped = (
        one.model_copy(update={"settled": two.settled, "points": two.points}),
        two.model_copy(update={"settled": one.settled, "points": one.points}),
        *rest,
    )
    for folder in world.folders.values():
        for path in folder.glob(f"**/{seal.backup_id}/seal.json"):
            path.write_bytes(seal.model_copy(update={"shards": swapped}).to_bytes())
    out = tmp_path / "out"
    said = qdr("-c", world.file, "export", f"{collection}@latest", "--out", out)
    assert said.code == 1
    assert "is not what was sealed: shard 0: id differs" in said.err
    assert [p.name for p in out.iterdir()] == ["export.json"]
    end = world.ends("plain")[-1]
    assert (end.verdict, end.outcomes[0].detail.fingerprint_equal) == ("failed", False)


def of_another_shard(seal: Seal) -> Seal:
    """A seal with one shard more than there is: the last one once more, under another number."""
    last = seal.shards[-1]
    return seal.model_copy(
        update={
            "shards": (*seal.shards, last.model_copy(update={"shard": 9})),
            "points": seal.points + last.points,
            "total": add(seal.total, *(f for f in (last.settled, last.replayed) if f)),
        }
    )


def with_another_total(seal: Seal) -> Seal:
    """A seal whose shards are right, and whose total is of other points, as many."""
    rows = [{"id": 10**6 + n, "payload": {}, "vector": {}} for n in range(seal.points)]
    return seal.model_copy(update={"total": fingerprint_of(rows)})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (of_another_shard, "nothing was read of shard 9, which was sealed"),
        (with_another_total, "all shards: id differs"),
    ],
)
def test_all_files_together_are_what_was_sealed(
    world: World, qdr: Command, tmp_path: Path, damage: Callable[[Seal], Seal], words: str
) -> None:
    collection = collection_of(world, 3)
    seal = damage(seal_of(world, collection))
    for folder in world.folders.values():
        for path in folder.glob(f"**/{seal.backup_id}/seal.json"):
            path.write_bytes(seal.to_bytes())
    out = tmp_path / "out"
    said = qdr("-c", world.file, "export", f"{collection}@latest", "--out", out)
    assert said.code == 1, said
    assert words in said.err
    assert not (out / "manifest.json").exists()
    end = world.ends("plain")[-1]
    assert (end.verdict, end.outcomes[0].detail.fingerprint_equal) == ("failed", False)


def test_an_unsealed_backup_is_exported_but_not_called_proven(
    world: World, qdr: Command, tmp_path: Path
) -> None:
    collection = names(world)[0]
    for folder in world.folders.values():
        for path in folder.glob("**/seal.json"):
            path.unlink()
    said = qdr("-c", world.file, "export", f"{collection}@latest", "--out", tmp_path / "out")
    assert said.code == 3
    assert "compared with no seal" in said.out
    assert manifest_at(tmp_path / "out").equal is None


def without_shard(part: Path, shard: int) -> None:
    """Take one shard out of a collection archive."""
    members = take_apart(part.read_bytes())
    part.write_bytes(put_together(m for m in members if not m.name.startswith(f"{shard}/")))


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_a_damaged_archive_gives_what_can_be_read(
    world: World, qdr: Command, tmp_path: Path, form: str
) -> None:
    collection = collection_of(world, 3)
    seal = seal_of(world, collection)
    (part,) = world.folders["plain"].glob(f"backups/**/{seal.backup_id}/*.snapshot")
    without_shard(part, 2)
    shutil.rmtree(world.folders["vault"] / "backups")
    plain = ("-c", world.file, "export", f"{collection}@latest", "--format", form, "--out")
    said = qdr(*plain, tmp_path / "no")
    assert said.code == 1
    assert not (tmp_path / "no/manifest.json").exists()
    out = tmp_path / "out"
    said = qdr(*plain, out, "--from-salvage", "--json")
    assert said.code == 3, said
    manifest = manifest_at(out)
    points = read_by_a_stranger(out)
    lost = seal.points - len(points)
    assert lost == next(s.points for s in seal.shards if s.shard == 2) > 0
    assert (manifest.equal, manifest.points, manifest.lost) == (False, len(points), lost)
    assert manifest.lost_ids == "lost-ids.ndjson"
    named = [json.loads(line)["id"] for line in lines_of(out / "lost-ids.ndjson")]
    assert sorted(named) == sorted({*range(max(named) + 1)} - {p["id"] for p in points})
    assert differences(manifest.fingerprint, fingerprint_of(points)) == []
    detail = world.ends("plain")[-1].outcomes[0].detail
    assert (detail.salvaged, detail.lost, detail.fingerprint_equal) == (True, lost, False)


def test_points_that_came_out_of_holes_are_said_to_be_doubtful(
    world: World, qdr: Command, tmp_path: Path
) -> None:
    """A second copy has the ids of a shard that the first lost, and lacks the blocks of the rest:
    what lies there are zeros."""
    collection = collection_of(world, 3)
    (part,) = world.folders["plain"].glob(
        f"backups/**/{seal_of(world, collection).backup_id}/*.snapshot"
    )
    without_shard(part, 2)
    for pack in world.parts("vault"):
        pack.unlink()
    out = tmp_path / "out"
    said = qdr("-c", world.file, "export", f"{collection}@latest", "--out", out, "--from-salvage")
    assert said.code == 3, said
    manifest = manifest_at(out)
    assert manifest.equal is False
    assert "NOT WHAT WAS SEALED" in said.out
    assert any("may not be what was sealed" in note for note in manifest.notes)


def test_a_url_with_a_secret_is_refused_before_anything_is_recorded(
    world: World, qdr: Command
) -> None:
    before = len(world.ends("plain"))
    said = qdr(
        "-c", world.file, "export", "x@latest", "--out", "https://a.blob.core.windows.net/c/x?sig=abc"
    )  # fmt: skip
    assert said.code == 2
    assert "abc" not in said.err
    assert len(world.ends("plain")) == before
