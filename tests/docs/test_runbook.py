"""The runbook, as a new user would follow it: every step of a case, in order, in one shell.

On the sandbox, or on real servers where `QDRANT_BIN` is set.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from qdrant_dr.cli import main
from tests.support.documented import blocks
from tests.support.servers import Server, emptied, qdrant_server, sandbox_server
from tests.support.world import World, make_world, seed
from tests.support.zygote import shell_function

KINDS = {"try", "real", "prefect", ""}
new_server = qdrant_server if "QDRANT_BIN" in os.environ else sandbox_server


@dataclass(frozen=True)
class Burnt:
    """Two backups in two repositories, a source that is dead, and how many points each had."""

    world: World
    first: str
    function: str
    """For bash: `qdrant-dr`."""


@pytest.fixture(scope="module")
def burnt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Burnt]:
    folder = tmp_path_factory.mktemp("burnt")
    with new_server(folder / "source") as source:
        for name in ("movies", "users"):
            seed(source.url, name, points=80)
        alias = {"create_alias": {"collection_name": "movies", "alias_name": "live"}}
        client = httpx.Client(base_url=source.url, trust_env=False)
        client.post("/collections/aliases", json={"actions": [alias]}).raise_for_status()
        world = make_world(folder / "world", source.url)
        assert main(["-q", "-c", world.reference, "backup"]) == 0
        first = max(m.backup_id for m in world.manifests("one") if m.collection == "movies")
        client.post(
            "/collections/movies/points/delete", params={"wait": "true"},
            json={"points": list(range(10))},
        ).raise_for_status()  # fmt: skip
        assert main(["-q", "-c", world.reference, "backup"]) in {0, 3}
        client.close()
    with shell_function(folder) as function:
        yield Burnt(world, first, function)


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with new_server(tmp_path_factory.mktemp("target")) as server:
        yield server


@pytest.fixture
def target(empty_server: Server) -> str:
    return emptied(empty_server).url


def follow(burnt: Burnt, case: str, target: str, folder: Path, **more: str) -> str:
    """Run all `try` blocks of a case in one shell, which stops at the first that fails."""
    steps = [b.text for b in blocks("runbook") if b.kind == "try" and b.heading.startswith(case)]
    assert steps, f"the runbook has no case {case}"
    work = folder / "work"
    work.mkdir()
    text = Path(burnt.world.reference).read_text()
    text = re.sub(r"nodes:\n\s*- (\S+)", r"nodes: [\1]", text)  # as `init` writes it
    (work / "qdrant-dr.yaml").write_text(text)
    # a report is as red as what it found, which is not the runbook's failure
    lines = [line + " || test $? -le 3" * line.startswith("qdrant-dr report")
             for step in steps for line in step.splitlines()]  # fmt: skip
    script = "\n".join(["set -euo pipefail", burnt.function, *lines])
    environment = {
        **os.environ,
        "TARGET": target,
        "QDRANT_DR_CONFIG": str(work / "qdrant-dr.yaml"),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "NO_PROXY": "*",
        **more,
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=work, env=environment, capture_output=True, text=True,
        timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def count(target: str, collection: str) -> int:
    answer = httpx.post(
        f"{target}/collections/{collection}/points/count", json={"exact": True}, trust_env=False
    )
    return int(answer.json()["result"]["count"])


def aliases(target: str) -> dict[str, str]:
    found = httpx.get(f"{target}/aliases", trust_env=False).json()["result"]["aliases"]
    return {a["alias_name"]: a["collection_name"] for a in found}


def test_every_block_says_whether_it_is_tried() -> None:
    kinds = [b.kind for b in blocks("runbook")]
    assert set(kinds) <= KINDS
    assert kinds.count("try") >= 20


def test_runbook_a_the_cluster_is_gone(burnt: Burnt, target: str, tmp_path: Path) -> None:
    follow(burnt, "A.", target, tmp_path)
    assert (count(target, "movies"), count(target, "users")) == (70, 80)
    assert aliases(target) == {"live": "movies"}


def test_runbook_b_only_the_bucket_is_left(burnt: Burnt, target: str, tmp_path: Path) -> None:
    follow(burnt, "B.", target, tmp_path, BUCKET=str(burnt.world.folders["one"]))
    assert count(target, "movies") == 70


def test_runbook_c_the_report_needs_no_prefect(burnt: Burnt, target: str, tmp_path: Path) -> None:
    follow(burnt, "C.", target, tmp_path)
    assert list((tmp_path / "work" / "after").rglob("report.html"))


def test_runbook_d_one_collection_is_lost(burnt: Burnt, target: str, tmp_path: Path) -> None:
    seed(target, "users", points=5)
    said = follow(burnt, "D.", target, tmp_path)
    assert (count(target, "movies"), count(target, "users")) == (70, 5)
    assert "captured at" in said


def test_runbook_e_the_data_is_wrong(burnt: Burnt, target: str, tmp_path: Path) -> None:
    seed(target, "movies", points=70)
    alias = {"create_alias": {"collection_name": "movies", "alias_name": "live"}}
    httpx.post(
        f"{target}/collections/aliases", json={"actions": [alias]}, trust_env=False
    ).raise_for_status()
    follow(burnt, "E.", target, tmp_path, BEFORE=burnt.first)
    assert (count(target, "movies"), count(target, "movies-before")) == (70, 80)
    assert aliases(target) == {"live": "movies-before"}


def test_runbook_i_somebody_deleted_the_wrong_points(
    burnt: Burnt, target: str, tmp_path: Path
) -> None:
    seed(target, "movies", points=80)
    httpx.post(
        f"{target}/collections/movies/points/delete", params={"wait": "true"},
        json={"points": list(range(3, 12))}, trust_env=False,
    ).raise_for_status()  # fmt: skip
    said = follow(burnt, "I.", target, tmp_path, BEFORE=burnt.first)
    assert count(target, "movies") == 80
    assert "create 9 points" in said
    assert "nothing: every point is as it is to be" in said
    assert "delete 9 points" in said  # the plan of the undo


def test_runbook_g_restore_by_hand(burnt: Burnt, target: str, tmp_path: Path) -> None:
    follow(burnt, "G.", target, tmp_path, BUCKET=str(burnt.world.folders["two"]))
    assert count(target, "movies-by-hand") == count(target, "movies-salvaged") == 70
    assert aliases(target)["by-hand"] == "movies-by-hand"


def test_runbook_h_the_quarterly_drill(burnt: Burnt, target: str, tmp_path: Path) -> None:
    said = follow(
        burnt, "H.", target, tmp_path, CLOUD="two", PLAYER="Ana Li", REVIEWER="Bea Roth",
        QDR_SECRETS_DIR=str(tmp_path),
    )  # fmt: skip
    assert "no-prefect: nothing of Prefect was loaded or asked" in said
    (page,) = (tmp_path / "work" / "signed").rglob("report.html")
    text = page.read_text()
    assert "two not opened, nothing asked of the cluster" in text
    assert 'accepted: <span class="">Bea Roth' in text
    assert "(the same person)" not in text
