"""The page on reading an export: its part for pandas reads what the page says, without us."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qdrant_dr.proof.engine import Engine, EngineLimits
from qdrant_dr.proof.export.columns import FieldColumn, PointColumns, VectorColumn
from qdrant_dr.proof.unpack import Limits, lay_out
from tests.support.archives import archive
from tests.support.replay import truth

PAGE = (Path(__file__).parents[2] / "docs" / "read-an-export.md").read_text()
COLUMNS = PointColumns(
    (VectorColumn("", "dense", len(next(iter(truth("basic")))["vector"]), "float32"),),
    (FieldColumn("genre", "keyword"), FieldColumn("year", "integer")),
)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder as the page has it, with the files of one shard."""
    laid = lay_out(
        [archive("basic/collection")], tmp_path / "laid", kind="collection",
        limits=Limits(1 << 30, 1 << 40, 64 << 30),
    )  # fmt: skip
    (shard,) = laid.local_shards
    with Engine(tmp_path / "engine", EngineLimits()) as engine:
        engine.load(shard.folder)
        for folder, form in (("movies-2026", "parquet"), ("movies-json", "ndjson")):
            (tmp_path / folder).mkdir()
            file = str(tmp_path / folder / f"shard-0.{form}")
            engine.ask("export", path=file, form=form, columns=COLUMNS.facts(), about={})
            engine.wait()
    return tmp_path


def test_its_lines_for_pandas_read_every_point(exported: Path) -> None:
    parquet, ndjson = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[::2]
    assert "pandas" in parquet
    script = (
        f"{parquet}\n"
        "assert not any(name.startswith('qdrant') for name in __import__('sys').modules)\n"
        f"kept = points\n{ndjson}\n"
        "lines = pd.concat(points)\n"
        "assert list(map(int, kept['id'])) == list(lines['id'])\n"
        "assert list(payloads) == list(lines['payload'])\n"
        "assert (vectors == np.stack(lines['vector']).astype('f4')).all()\n"
        "assert (kept['payload_year'] == [p['year'] for p in payloads]).all()\n"
        "print(len(kept))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=exported, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"{len(list(truth('basic')))}\n"), done.stderr


def test_every_column_of_the_page_is_one_that_is_written(exported: Path) -> None:
    import pyarrow.parquet as pq

    names = pq.read_schema(exported / "movies-2026/shard-0.parquet").names
    assert names == ["id", "payload", "payload_genre", "payload_year", "vector"]
    listed = re.findall(r"^\| `([a-zA-Z_]+)` \|", PAGE, re.MULTILINE)
    pattern = [re.sub("FIELD|NAME", r"\\w+", name) for name in listed]
    assert all(any(re.fullmatch(p, name) for p in pattern) for name in names)
