"""Where the Prefect project lies, what stands in front of it, and which version is where."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from qdrant_dr import project
from qdrant_dr.errors import ProjectMissing, ProjectShadowed
from qdrant_dr.version import __version__

ROOT = Path(__file__).parents[1]


def test_in_a_checkout_it_is_the_checkout() -> None:
    assert project.folder() == ROOT
    assert project.pull() == {"directory": str(ROOT)}
    assert sys.path[0] == str(ROOT)
    assert sys.path.count(str(ROOT)) == 1
    assert project.load("deployments.inputs").DEFAULT_POOL == "qdrant-dr"


def test_another_version_is_told_and_goes_on() -> None:
    with pytest.warns(
        UserWarning, match=rf"has qdrant-dr {__version__}, the deployment is of 0\.0"
    ):
        assert project.pull("0.0") == {"directory": str(ROOT)}
    assert project.pull(__version__) == {"directory": str(ROOT)}


def test_a_package_of_somebody_else_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = types.ModuleType("tasks")
    theirs.__file__ = str(tmp_path / "tasks" / "__init__.py")
    monkeypatch.setitem(sys.modules, "tasks", theirs)
    with pytest.raises(ProjectShadowed, match=f"`tasks` is {tmp_path / 'tasks'}") as refused:
        project.enter()
    assert "\n" not in refused.value.message


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "qdrant_dr").mkdir()
    monkeypatch.setattr(project, "__file__", str(tmp_path / "qdrant_dr" / "project.py"))
    with pytest.raises(ProjectMissing, match="lacks flows, tasks, deployments"):
        project.folder()
    for name in project.FOLDERS:  # of anybody
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    with pytest.raises(ProjectMissing, match=r"lacks prefect\.yaml"):
        project.pull()
