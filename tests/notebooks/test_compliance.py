"""The notebook, executed on repositories on disk: good, with gaps, edited, and unreachable."""

from __future__ import annotations

import ast
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import qdrant_dr
from qdrant_dr.compliance import out_of_reach
from qdrant_dr.config import Config, RepositoryConfig
from qdrant_dr.records import Manifest, Proof, RunEnd
from qdrant_dr.report.evidence import recount
from qdrant_dr.repository import Repository, create_repository, open_repository
from tests.support import records as r
from tests.support.records import NOW, hours

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "compliance.ipynb"
RENDER = ROOT / "notebooks" / "render.py"


@pytest.fixture(autouse=True)
def _own_jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel, history or connection file of the user is read or written."""
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        (folder := tmp_path / "jupyter" / name).mkdir(parents=True)
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("QDRANT_DR_AS_OF", NOW.isoformat())
    monkeypatch.setenv("QDRANT_DR_PERIOD_DAYS", "30")
    monkeypatch.delenv("QDRANT_DR_REPOSITORIES", raising=False)


class Place:
    """Two repositories on disk and the configuration that names them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: dict[str, Repository] = {}
        repositories = []
        for name in ("aws", "gcp"):
            entry = {"name": name, "url": f"file://{folder}/{name}", "domain": f"domain-{name}"}
            entry["id"] = create_repository(RepositoryConfig.model_validate(entry), NOW)
            repositories.append(entry)
        body = {
            "format": 1,
            "cluster": {"name": "prod", "nodes": ["http://127.0.0.1:6333"]},
            "collections": {"expect": ["movies"]},
            "repositories": repositories,
            "copies": {"quorum": 2, "domains": 2},
        }
        self.config = Config.model_validate(body)
        for repository in self.config.repositories:
            self.opened[repository.name] = open_repository(
                repository, stall_timeout=self.config.copies.stall_timeout
            )
        self.path = folder / "qdrant-dr.yaml"
        self.path.write_text(json.dumps(body))  # JSON is YAML

    def store(self, manifest: Manifest) -> None:
        for repository in self.opened.values():
            sink = repository.part_sink(manifest.key, manifest.parts[0].file)
            sink.write(b"x" * manifest.size_bytes)
            sink.commit()
            repository.commit(manifest)
            repository.put_seal(r.seal(manifest))

    def prove(self, of: Manifest, name: str, **fields: object) -> Proof:
        repository = self.opened[name]
        proof = r.proof(
            of,
            name,
            repository_id=repository.id,
            location=repository.location,
            **fields,  # type: ignore[arg-type]
        )
        repository.add_proof(proof)
        return proof

    def record(self, end: RunEnd) -> None:
        for repository in self.opened.values():
            repository.write_run_start(end.start)
            repository.write_run_end(end)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Everything promised holds."""
    made = Place(tmp_path)
    manifests = [r.manifest(name, size_bytes=64) for name in ("movies", "<b>odd</b>")]
    for m in manifests:
        made.store(m)
        for name in ("aws", "gcp"):
            made.prove(m, name)
    made.record(
        r.run_end(
            outcomes=tuple(r.captured(m) for m in manifests),
            seen=tuple(r.seen(m.collection) for m in manifests),
        )
    )
    drills = tuple(r.drilled(m) for m in manifests)
    made.record(r.run_end(r.run_start("drill", NOW - hours(1)), outcomes=drills))
    monkeypatch.setenv("QDRANT_DR_CONFIG", str(made.path))
    return made


def execute() -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook, timeout=90, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    try:
        client.execute()
    except CellExecutionError as e:
        notebook.metadata["failed"] = str(e)
    return notebook


def shown(notebook: nbformat.NotebookNode) -> str:
    """All that the cells put out, as HTML where there is some."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            found.append(data.get("text/html") or data.get("text/plain") or output.get("text", ""))
    return "\n".join(found)


def test_the_stored_notebook_has_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert code
    assert all(not c.outputs and c.execution_count is None for c in code)


def test_the_verdict_comes_first_and_the_code_last() -> None:
    """Cells are one question each, and are not shown; what counted is printed at the end."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    code = [c for c in notebook.cells if c.cell_type == "code"]
    last_lines = [c.source.splitlines()[-1] for c in code]
    assert last_lines[:2] == ["found.verdict()", "found.failures()"]
    assert last_lines[-2:] == ["found.code()", "found.demand()"]
    assert all(c.source.count("\n") == 0 for c in code[1:])
    assert all(c.metadata["jupyter"]["source_hidden"] for c in code)
    assert all("remove-input" in c.metadata["tags"] for c in code)


def test_the_recount_shares_no_code_with_the_frames() -> None:
    """Else both ways of counting would be wrong alike."""
    tree = ast.parse(Path(recount.__file__).read_text())
    named = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    named |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    ours = {m for m in named if m and m.startswith("qdrant_dr")}
    # what is configured, and which spellings are one place, are definitions and no counting
    assert ours == {"qdrant_dr.config", "qdrant_dr.location_key"}
    assert "pandas" not in named


def edit(proofs: Path) -> None:
    """Turn a figure in one proof: its digest no longer holds."""
    (path,) = proofs.rglob("b-odd-b*/**/*.json")
    data = path.read_bytes()
    assert b'"points_checked":2000' in data
    path.write_bytes(data.replace(b'"points_checked":2000', b'"points_checked":2001'))


def test_good_repositories_pass(place: Place) -> None:
    notebook = execute()
    assert "failed" not in notebook.metadata, notebook.metadata["failed"]
    text = shown(notebook)
    assert "compliant as of 2026-11-22 12:00:00 UTC: 2 collections" in text
    assert "both counts agree" in text
    assert "&lt;b&gt;odd&lt;/b&gt;" in text
    assert "<b>odd</b>" not in text


def test_gaps_are_listed_first_and_fail(place: Place) -> None:
    late = r.manifest("late", at=NOW - hours(40), size_bytes=64)
    place.store(late)
    place.prove(late, "aws")
    bare = r.manifest("bare", size_bytes=64)
    place.store(bare)
    place.record(r.run_end(r.run_start("backup", NOW - hours(0.5)), seen=(
        r.seen("movies"), r.seen("late"), r.seen("bare"), r.seen("never"))))  # fmt: skip
    place.prove(r.manifest("movies", size_bytes=64), "gcp", passed=False, ended_at=NOW - hours(1))
    edit(place.folder / "aws" / "proofs")
    notebook = execute()
    assert "NotCompliant" in notebook.metadata["failed"]
    text = shown(notebook)
    for words in (
        "changed after it was written",
        "no backup proven to content",
        "1 of 2 copies",
        "1 of 2 failure domains",
        "1 day, 16:00:00 old, promised 1 day, 2:00:00",
        "bytes-differ",
        "vanished",
    ):
        assert words in text
    assert text.index("NOT compliant as of") < text.index("bytes-differ")
    assert text.index("bytes-differ") < text.index(">proven backup<")
    assert "frames say" not in text


def test_an_unreachable_repository_fails(place: Place) -> None:
    shutil.rmtree(place.folder / "gcp")
    notebook = execute()
    assert "NotCompliant" in notebook.metadata["failed"]
    assert "repository could not be read" in shown(notebook)
    assert "1 of 2 copies" in shown(notebook)


def render(place: Place, **environment: str) -> tuple[int, str, str]:
    """Run the documented command in the folder of the configuration: exit code, output, page."""
    command = [sys.executable, str(RENDER), "--out", "page.html"]
    done = subprocess.run(
        command, cwd=place.folder, env={**os.environ, **environment}, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    page = (place.folder / "page.html").read_text()
    return (
        done.returncode,
        done.stdout,
        re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL),
    )


def test_the_command_writes_the_page_verdict_first_without_code(place: Place) -> None:
    code, said, page = render(place)
    assert (code, said) == (0, "compliant\nwrote page.html\n")
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    assert text.index("compliant as of 2026-11-22 12:00:00 UTC") < text.index("Failures")
    for source in ("found.verdict()", "found.failures()", "import look", "In\xa0["):
        assert source not in text


def test_the_command_fails_with_the_notebook_and_still_writes_the_page(place: Place) -> None:
    shutil.rmtree(place.folder / "gcp")
    code, said, page = render(place)
    assert code == 1
    assert said.startswith("NotCompliant: NOT compliant as of 2026-11-22 12:00:00 UTC")
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    assert text.index("NOT compliant as of") < text.index("repository could not be read")
    assert "found.demand()" not in text


def test_make_notebook_runs_the_command() -> None:
    (line,) = [li for li in (ROOT / "Makefile").read_text().splitlines() if "render.py" in li]
    assert line == "\t@$(BIN)/python notebooks/render.py --out compliance.html"


def test_a_copy_in_an_archive_counts_in_neither_way(place: Place) -> None:
    """Stores know it, records do not; where a restore waits for it, it counts."""
    recovery = qdrant_dr.open(place.config)
    raw = recovery.raw_records()
    copies = recovery.frames(as_of=NOW)["copies"]
    frozen = copies.assign(state="archived")[copies["repository"] == "gcp"]
    away = out_of_reach(place.config, frozen)
    assert {(c, r) for c, _, r in away} == {("movies", "gcp"), ("<b>odd</b>", "gcp")}
    found = recount.recount(
        [(x.repository, x.path, x.data) for x in raw.records],
        {name: at.model_dump() for name, at in raw.locations.items()},
        place.config, NOW, away,
    )  # fmt: skip
    assert [row.copies for row in found.rows] == [1, 1]
    assert ("movies", "1 of 2 copies") in found.gaps
    respelled = recount.recount(
        [(x.repository, x.path, x.data) for x in raw.records],
        {n: {**at.model_dump(), "prefix": f"{at.prefix}/"} for n, at in raw.locations.items()},
        place.config, NOW, away,
    )  # fmt: skip
    assert respelled == found, "a place is one however it is spelled"
    waits = tuple(
        x.model_copy(update={"archive_restore_time": hours(5)}) for x in place.config.repositories
    )
    assert not out_of_reach(place.config.model_copy(update={"repositories": waits}), frozen)
