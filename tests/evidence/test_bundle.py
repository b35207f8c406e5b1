"""A bundle is all that a stranger needs; two of the same records and moment are the same bytes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr.evidence.bundle import ROOT, write_bundle
from qdrant_dr.evidence.contents import BOX
from qdrant_dr.evidence.places import in_folder
from qdrant_dr.signing.ssh_keys import new_key
from tests.evidence.conftest import NAMES, Witnessed
from tests.support.ledgers import Ledger, round_of, trust_line
from tests.support.records import NOW

Pack = Callable[[Callable[[str, bytes], bytes | None]], Path]


@pytest.fixture(scope="module")
def bundle(witnessed: Witnessed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "evidence.tar.gz"
    assert make(witnessed.world.reference, out) == 0
    return out


def make(config: str, out: Path) -> int:
    from qdrant_dr.cli import main

    return main(["evidence", "bundle", "--out", str(out), "-q", "-c", config])


@pytest.fixture
def changed(bundle: Path, tmp_path: Path) -> Pack:
    """Pack the bundle anew, each file as a function gives it; None leaves it out."""

    def pack(change: Callable[[str, bytes], bytes | None]) -> Path:
        out = tmp_path / "changed.tar.gz"
        with tarfile.open(bundle) as old, tarfile.open(out, "w:gz") as new:
            for member in old:
                opened = old.extractfile(member)
                assert opened is not None
                data = change(member.name.removeprefix(f"{ROOT}/"), opened.read())
                if data is not None:
                    member.size = len(data)
                    new.addfile(member, io.BytesIO(data))
        return out

    return pack


def states(said: Any) -> dict[tuple[str, str], str]:
    return {(row["repository"], row["check"]): row["state"] for row in said.json["rows"]}


def test_a_stranger_verifies_it_with_the_public_key_alone(
    bundle: Path, witnessed: Witnessed, qdr: Any
) -> None:
    trusted = ("--allowed-signers", witnessed.trust)
    said = qdr("evidence", "verify", bundle, *trusted, "--json")
    assert said.code == 0, said.json["rows"]
    found = states(said)
    assert {name for name, _ in found} == set(NAMES)
    assert all(found[name, check] == "ok" for name in NAMES
               for check in ("chain", "signatures", "unsigned tail", "records", "absences",
                             "unnamed", "insertions", "anchors", "times"))  # fmt: skip
    (absent,) = (r["found"] for r in said.json["rows"]
                 if (r["repository"], r["check"]) == ("one", "absences"))  # fmt: skip
    assert "of expired backups" in absent


def test_it_is_never_ok_without_a_trusted_key(bundle: Path, qdr: Any) -> None:
    said = qdr("evidence", "verify", bundle)
    assert said.code == 3
    assert "nobody trusted" in said.err
    assert "nobody is trusted" in said.out


def test_it_has_the_report_its_frames_and_how_to_check_it(bundle: Path) -> None:
    with tarfile.open(bundle) as tar:
        names = {m.name.removeprefix(f"{ROOT}/") for m in tar}
    assert {"bundle.json", "SHA256SUMS", "verify-by-hand.md", "audit.md"} <= names
    assert {"report/report.html", "report/runs.csv", "report/runs.parquet"} <= names
    assert not [n for n in names if n.endswith((".snapshot", ".pack"))]


def test_the_same_records_and_moment_give_the_same_bytes(
    witnessed: Witnessed, tmp_path: Path, qdr: Any
) -> None:
    as_of = ("--as-of", witnessed.ended_at("one").isoformat())
    for name in ("first", "second"):
        words = ("evidence", "bundle", "--out", tmp_path / name, *as_of, "-c")
        assert qdr(*words, witnessed.world.reference).code == 0
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_an_entry_of_the_last_second_is_in_the_report(
    witnessed: Witnessed, tmp_path: Path, qdr: Any
) -> None:
    """A moment is as exact as it was given: the second that it lies in is not cut off."""
    out, last = tmp_path / "evidence.tar.gz", witnessed.last("one")
    as_of = ("--as-of", last.at.isoformat())
    words = ("evidence", "bundle", "--out", out, *as_of, "-c", witnessed.world.reference)
    assert qdr(*words).code == 0
    with tarfile.open(out) as tar:
        table = tar.extractfile(f"{ROOT}/report/ledger.csv")
        contents = tar.extractfile(f"{ROOT}/bundle.json")
        assert table is not None
        assert contents is not None
        heads = csv.DictReader(io.TextIOWrapper(table, encoding="utf-8"))
        assert {h["repository"]: int(h["head_number"]) for h in heads}["one"] == last.number
        assert datetime.fromisoformat(json.load(contents)["as_of"]) == last.at


KEY_SLOT = "keys/0a0b0c0d0e0f0a0b/20261122T120000Z-aaaaaa.json"
UNDO = "undo/shop/movies-a941e049/20261122T120000Z-aaaaaa/part-1.json"


@pytest.fixture
def secretive(tmp_path: Path) -> Path:
    """A bundle of a repository whose ledger names a slot of its key and points of an undo record;
    its trusted keys lie beside it."""
    key = new_key()
    (tmp_path / "trusted").write_text(trust_line(key))
    ledger = Ledger(tmp_path / "one", key)
    ledger.append({KEY_SLOT: b"{}", UNDO: BOX + b"points", **round_of(ledger, NOW)})
    ledger.append(round_of(ledger, NOW + timedelta(hours=1)))
    source = replace(in_folder(tmp_path / "one", "one"), location=ledger.location)
    with (tmp_path / "evidence.tar.gz").open("wb") as out:
        write_bundle(out, [source], {}, cluster="shop", as_of=NOW, period=timedelta(days=30))
    return tmp_path / "evidence.tar.gz"


def test_keys_and_points_are_never_in_it_and_it_says_so(secretive: Path, qdr: Any) -> None:
    with tarfile.open(secretive) as tar:
        names = [m.name for m in tar]
        contents = tar.extractfile(f"{ROOT}/bundle.json")
        assert contents is not None
        assert json.load(contents)["left_out"] == ["keys/", "undo/"]
        assert not [n for n in names if "/keys/" in n or "/undo/" in n]
        tar.extractall(secretive.parent / "unpacked", filter="data")
    folder = secretive.parent / "unpacked" / ROOT / "repositories" / "one"
    for what in (secretive, folder):
        said = qdr("evidence", "verify", what, "--allowed-signers", secretive.parent / "trusted",
                   "--json")  # fmt: skip
        assert states(said)["one" if what is secretive else str(folder), "absences"] == "ok"
        (row,) = (r for r in said.json["rows"] if r["check"] == "absences")
        assert "2 records left out of the bundle (keys/, undo/)" in row["found"]


def test_a_bundle_cannot_say_that_it_leaves_out_what_is_evidence(
    secretive: Path, tmp_path: Path, qdr: Any
) -> None:
    """Else whoever makes it could hide a failed run."""
    from tests.evidence.attacks import edited

    out = tmp_path / "changed.tar.gz"
    with tarfile.open(secretive) as old, tarfile.open(out, "w:gz") as new:
        for member in old:
            opened = old.extractfile(member)
            assert opened is not None
            data = opened.read()
            if "/runs/" in member.name:
                continue
            if member.name == f"{ROOT}/bundle.json":
                files = [f for f in json.loads(data)["files"] if "/runs/" not in f["path"]]
                data = edited(data, files=files, left_out=["keys/", "runs/", "undo/"])
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    found = states(qdr("evidence", "verify", out, "--json"))
    assert found["one", "bundle"] == "failed"
    assert found["one", "absences"] == "failed"


def test_a_file_that_is_there_is_left_alone(witnessed: Witnessed, tmp_path: Path, qdr: Any) -> None:
    out = tmp_path / "evidence.tar.gz"
    out.write_text("mine")
    said = qdr("evidence", "bundle", "--out", out, "-c", witnessed.world.reference)
    assert said.code == 4
    assert out.read_text() == "mine"


def test_a_changed_a_missing_and_a_foreign_file_are_named(changed: Pack, qdr: Any) -> None:
    def change(path: str, data: bytes) -> bytes | None:
        if path == "report/report.html":
            return data + b"<!-- better -->"
        return None if path == "report/runs.csv" else data

    said = qdr("evidence", "verify", changed(change), "--json")
    assert said.code == 1
    (row,) = (r for r in said.json["rows"] if r["check"] == "bundle")
    assert "report/report.html was changed" in row["found"]
    assert "report/runs.csv is missing" in row["found"]


def test_a_bundle_that_lies_consistently_is_seen_by_its_ledger(changed: Pack, qdr: Any) -> None:
    """Whoever makes a bundle can make its list of digests, too."""
    entry = "repositories/one/evidence/0000000/0000000002.json"
    dropped = (entry, f"{entry}.sig")

    def change(path: str, data: bytes) -> bytes | None:
        if path != "bundle.json":
            return None if path in dropped else data
        body = json.loads(data)
        from tests.evidence.attacks import edited

        return edited(data, files=[f for f in body["files"] if f["path"] not in dropped])

    found = states(qdr("evidence", "verify", changed(change), "--json"))
    assert found["one", "bundle"] == "ok"
    assert found["one", "chain"] == "failed"


def test_a_repository_that_cannot_be_reached_is_named_loudly(
    witnessed: Witnessed, tmp_path: Path, qdr: Any
) -> None:
    body = yaml.safe_load(witnessed.world.file.read_text())
    (three,) = (r for r in body["repositories"] if r["name"] == "three")
    shutil.copytree(witnessed.folders["one"], tmp_path / "copy")
    three["url"] = (tmp_path / "away").as_uri()
    config, out = tmp_path / "qdrant-dr.yaml", tmp_path / "evidence.tar.gz"
    config.write_text(yaml.safe_dump(body))
    said = qdr("evidence", "bundle", "--out", out, "-c", config)
    assert said.code == 3
    assert "NOT IN IT: three" in said.err
    found = qdr("evidence", "verify", out, "--allowed-signers", witnessed.trust, "--json")
    assert found.code == 3
    assert states(found)["one", "bundle"] == "doubt"
    assert "three" in next(r["found"] for r in found.json["rows"] if r["check"] == "bundle")


def test_what_is_no_bundle_is_refused_with_the_next_step(
    bundle: Path, tmp_path: Path, qdr: Any
) -> None:
    cut, text, other = tmp_path / "cut", tmp_path / "text", tmp_path / "other.tar.gz"
    cut.write_bytes(bundle.read_bytes()[:5000])
    text.write_text("no archive")
    with tarfile.open(other, "w:gz") as tar:
        hostile = tarfile.TarInfo(f"{ROOT}/../../escaped")
        tar.addfile(hostile, io.BytesIO())
    for file in (cut, text, other):
        said = qdr("evidence", "verify", file)
        assert said.code in (1, 2)
        assert "HINT" in said.err
    assert not (tmp_path.parent / "escaped").exists()
    with gzip.open(bundle) as whole:
        assert whole.read(1)
