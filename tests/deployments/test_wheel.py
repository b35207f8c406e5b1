"""The wheel: one top-level name, and a Prefect project in it that nothing stands in front of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from qdrant_dr.version import __version__
from tests.support.prefect import QUIET, free_port
from tests.support.servers import sandbox_server
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.wheel import Installed, build, environment, foreign_wheel, names
from tests.support.world import seed

ROOT = Path(__file__).parents[2]
PROJECT = ("flows", "tasks", "deployments")
ENTER = (
    "import importlib, json\n"
    "from qdrant_dr import project\n"
    "entered = project.pull()\n"
    "import flows.backup, tasks.config, deployments\n"
    "found = [m.__file__ for m in (flows.backup, tasks.config, deployments)]\n"
    "print(json.dumps([entered['directory'], *found]))\n"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Beside a wheel of somebody else that has our names, and was installed later."""
    folder = tmp_path_factory.mktemp("installed")
    return environment(folder / "venv", wheel, foreign_wheel(folder, PROJECT))


def test_its_only_top_level_name_is_ours(wheel: Path) -> None:
    assert names(wheel) == {"qdrant_dr", f"qdrant_dr-{__version__}.dist-info"}


def test_it_carries_the_whole_project_and_no_secret(
    installed: Installed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (carried,) = installed.home.glob("lib/python*/site-packages/qdrant_dr/_project")
    there = {str(p.relative_to(carried)) for p in carried.rglob("*.py")}
    for folder in ("flows", "tasks"):
        ours = {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob("*.py")}
        assert ours <= there
    assert (carried / "prefect.yaml").read_text() == (ROOT / "prefect.yaml").read_text()
    assert {"deployments/up.py", "deployments/down.py", "deployments/register.py"} <= there
    assert not list(carried.rglob("*.env*"))
    assert not list(carried.rglob("demo*"))


def test_nothing_stands_in_front_of_it(installed: Installed, tmp_path: Path) -> None:
    """A foreign wheel with the same names, and folders of these names where somebody works and
    on the path."""
    for name in PROJECT:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('this is theirs, too')\n")
    done = installed.run("-c", ENTER, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    directory, *files = json.loads(done.stdout)
    assert Path(directory).name == "_project"
    assert all(Path(file).is_relative_to(directory) for file in files)


def test_a_package_of_that_name_that_is_already_there_is_named(
    installed: Installed, tmp_path: Path
) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("")
    code = f"import flows\n{ENTER}"
    done = installed.run("-c", code, cwd=tmp_path)
    said = done.stderr.splitlines()[-2:]
    assert f"`flows` is {tmp_path / 'flows'} in this process" in said[0]
    assert said[1].startswith("HINT: ")


def test_a_package_without_its_project_says_so(
    wheel: Path, installed: Installed, tmp_path: Path
) -> None:
    """And does not take the folders of somebody else for it."""
    bare = tmp_path / "bare"
    bare.mkdir()
    (whole,) = installed.home.glob("lib/python*/site-packages/qdrant_dr")
    shutil.copytree(whole, bare / "qdrant_dr", ignore=shutil.ignore_patterns("_project"))
    for name in PROJECT:
        (bare / name).mkdir()
        (bare / name / "__init__.py").write_text("")
    done = installed.run("-m", "qdrant_dr.cli", "up", cwd=bare, env={"PYTHONPATH": str(bare)})
    assert done.returncode == 1
    first, hint, *_ = done.stderr.splitlines()
    assert "has no Prefect project" in first
    assert hint.startswith("HINT: by hand: `pip install --force-reinstall qdrant-dr` there")


def test_prefect_knows_our_block_without_an_import(installed: Installed, tmp_path: Path) -> None:
    code = (
        "from prefect.plugins import load_prefect_collections\n"
        "from prefect.blocks.core import Block\n"
        "from prefect.utilities.dispatch import lookup_type\n"
        "load_prefect_collections()\n"
        "import sys\n"
        "assert not {'flows', 'tasks', 'deployments'} & set(sys.modules)\n"
        "print(lookup_type(Block, 'qdrant-dr').__name__)\n"
    )
    env = {"DO_NOT_TRACK": "1", "PREFECT_HOME": str(tmp_path)}
    done = installed.run("-c", code, cwd=tmp_path, env=env)
    assert done.stdout.split()[-1:] == ["ConfigBlock"], done.stderr


def test_the_command_line_answers(installed: Installed, tmp_path: Path) -> None:
    done = installed.run("-m", "qdrant_dr.cli", "--version", cwd=tmp_path)
    assert done.stdout.strip() == __version__
    done = installed.run("-m", "qdrant_dr.cli", "up", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no ./qdrant-dr.yaml")
    done = installed.run("-m", "qdrant_dr.cli", "down", "--json", cwd=tmp_path)
    assert [row["did"] for row in json.loads(done.stdout)["rows"]] == [
        "worker: not running", "prefect server: not running",
    ]  # fmt: skip


@thorough
@pytest.mark.prefect
@pytest.mark.timeout(600)
def test_three_commands_reach_a_scheduled_backup_and_a_green_status(
    installed: Installed, tmp_path: Path
) -> None:
    """Outside any checkout, with a foreign `flows` installed, a `tasks/` at hand, a worker that
    starts elsewhere; the schedule is one that comes soon."""
    place = tmp_path / "place"
    (place / "tasks").mkdir(parents=True)
    (place / "tasks" / "__init__.py").write_text("raise SystemExit('this is theirs, too')\n")
    env = {
        **QUIET,
        "PREFECT_HOME": str(tmp_path / "users"),
        "PREFECT_PROFILES_PATH": str(tmp_path / "users" / "none.toml"),
    }
    with sandbox_server(tmp_path / "source") as source:
        seed(source.url, "movies", points=300)
        reach(installed, place, env, source.url)


def reach(installed: Installed, place: Path, env: Mapping[str, str], source: str) -> None:
    """From nothing to a scheduled backup that ran, and a green status."""
    home = place / ".up"
    home.mkdir()
    (home / "port").write_text(f"{free_port()}\n")

    def qdr(*words: str, code: int = 0) -> str:
        done = installed.run("-m", "qdrant_dr.cli", *words, cwd=place, env=env, timeout=400)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    qdr("init", "--url", source)
    qdr("repository", "create", "--save")
    (carried,) = installed.home.glob("lib/python*/site-packages/qdrant_dr/_project")
    spec = yaml.safe_load((carried / "prefect.yaml").read_text())
    spec["deployments"] = [d for d in spec["deployments"] if "backup" in d["entrypoint"]]
    soon = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    spec["deployments"][0]["schedules"] = [{"slug": "soon", "interval": 600, "anchor_date": soon}]
    (place / "prefect.yaml").write_text(yaml.safe_dump(spec))
    try:
        said = qdr("up", "--prefect-file", "prefect.yaml")
        assert "NOBODY WILL BE TOLD" in said
        qdr("up", "--prefect-file", "prefect.yaml")
        eventually(lambda: "captured" in (home / "worker.log").read_text(), within=240, every=2)
        eventually(
            lambda: "Completed('" in (home / "worker.log").read_text().splitlines()[-1],
            within=120, every=2,
        )  # fmt: skip
        status = json.loads(qdr("status", "--json"))
        assert {row["status"] for row in status["rows"]} == {"protected"}
    finally:
        qdr("down")
