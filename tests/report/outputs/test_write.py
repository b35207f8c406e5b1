"""Files: safe for spreadsheets, equal on every run, in a folder that names the moment."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest

from qdrant_dr import secrets
from qdrant_dr.config import ReportConfig, Tls
from qdrant_dr.errors import DRError, NothingSelected
from qdrant_dr.report.frames.build import Assessment, build_frames
from qdrant_dr.report.frames.csv_table import csv_bytes
from qdrant_dr.report.frames.schema import FRAMES
from qdrant_dr.report.outputs.write import Written, write
from tests.support import records as r
from tests.support.worlds import evidence, frames, good


def written(to: str, **options: Any) -> Written:
    assessment = Assessment.of(good("a", "b"))
    return write(assessment, build_frames(assessment), to=ReportConfig(url=to), **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_format_of_every_frame_and_the_same_bytes_again(tmp_path: Path) -> None:
    first = written(str(tmp_path))
    assert first.folder == f"{tmp_path}/prod/20261122T120000Z"
    before = contents(tmp_path)
    names = {"report.html", *(f"{f.name}.{e}" for f in FRAMES for e in ("csv", "parquet"))}
    assert {Path(n).name for n in before} == names
    assert len(first.files) == len(names)
    assert written(str(tmp_path)) == first
    assert contents(tmp_path) == before
    assert first.digest in before["prod/20261122T120000Z/report.html"].decode()


def test_it_goes_wherever_fsspec_goes() -> None:
    got = written("memory://reports/x", formats=["csv"])
    fs = fsspec.filesystem("memory")
    assert fs.cat_file("/reports/x/prod/20261122T120000Z/findings.csv")
    assert len(got.files) == len(FRAMES)


def test_keys_may_come_from_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def make_filesystem(kind: str, options: dict[str, Any], tls: Tls) -> Any:
        given.update(options)
        return fsspec.filesystem("memory")

    monkeypatch.setattr("qdrant_dr.report.outputs.write.make_filesystem", make_filesystem)
    monkeypatch.setattr(secrets, "_block_readers", [lambda name: {"key": name, "secret": "s"}])
    to = ReportConfig(url="s3://reports/q", credentials="block:aws-credentials/prod")
    assessment = Assessment.of(good("a"))
    write(assessment, build_frames(assessment), to=to, formats=["csv"])
    assert (given["key"], given["secret"]) == ("aws-credentials/prod", "s")


def test_no_format_and_no_room_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NothingSelected):
        written(str(tmp_path), formats=[])
    (tmp_path / "file").write_text("")
    with pytest.raises(DRError, match="report"):
        written(str(tmp_path / "file"))


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1"]
)
def test_a_cell_that_a_spreadsheet_would_run_is_text(name: str) -> None:
    m = r.manifest(name)
    frame = frames(evidence({"aws": [m], "gcp": [m]}))["collections"]
    (line,) = csv.DictReader(io.StringIO(csv_bytes(frame).decode(), newline=""))
    assert line["collection"] == f"'{name}"


def test_csv_reads_back_as_it_was() -> None:
    frame = frames(good("a,b", 'say "x"'))["backups"]
    back = pd.read_csv(io.BytesIO(csv_bytes(frame)), dtype={"fingerprint": "string"})
    assert list(back["collection"]) == list(frame["collection"])
    assert list(back["size_bytes"]) == list(frame["size_bytes"])
    assert list(pd.to_datetime(back["captured_at"])) == list(frame["captured_at"])


def test_what_was_not_measured_is_an_empty_cell() -> None:
    m = r.manifest()
    frame = frames(evidence({"aws": [m], "gcp": [m]}, seals=[]))["backups"]
    (line,) = csv.DictReader(io.StringIO(csv_bytes(frame).decode()))
    assert (line["points_count"], line["fingerprint"]) == ("", "")
    assert line["captured_at"] == "2026-11-22T10:00:00.000000Z"
