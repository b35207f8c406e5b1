"""What is given away: a source archive without ballast, and a list of what is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from deployments.tools.sbom import LOCK, document, locked
from qdrant_dr.version import __version__
from tests.support.samples import ROOT

MOST = 4 * 2**20
"""Bytes of the source archive. With tests and pictures it would be several times as large."""


def build(kind: str, source: Path, into: Path) -> Path:
    """Build with hatchling, as pip would, but without looking for anything to install."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)],
        cwd=source, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (made,) = into.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def test_the_source_archive_is_slim(sdist: Path) -> None:
    assert sdist.stat().st_size < MOST
    with tarfile.open(sdist) as archive:
        tops = {m.name.split("/")[1] for m in archive if "/" in m.name}
    assert {"qdrant_dr", "flows", "tasks", "README.md", "LICENSE", "pyproject.toml"} <= tops
    assert not tops & {"tests", "benchmarks", "notebooks", ".github", ".tools", ".venv"}


def test_a_wheel_of_the_archive_is_that_of_the_checkout(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    made = [build("wheel", where, tmp_path / name) for name, where in (("a", source), ("b", ROOT))]
    names = [sorted(zipfile.ZipFile(wheel).namelist()) for wheel in made]
    assert names[0] == names[1]
    assert "qdrant_dr/py.typed" in names[0]


def test_the_package_says_what_it_is(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        member = next(m for m in archive if m.name.endswith("/PKG-INFO"))
        about = archive.extractfile(member)
        assert about is not None
        text = about.read().decode()
    assert "License-Expression: Apache-2.0" in text
    assert "Classifier: Typing :: Typed" in text
    for version in ("3.11", "3.14"):
        assert f"Classifier: Programming Language :: Python :: {version}" in text


# the bill of materials


TEXT = LOCK.read_text()
BOM: dict[str, Any] = document(TEXT)


def test_every_locked_package_is_listed_once_with_its_digests() -> None:
    pinned = re.findall(r"^([a-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;]+)", TEXT, re.MULTILINE)
    listed = [(c["name"], c["version"]) for c in BOM["components"]]
    assert listed == pinned
    assert len(listed) > 100
    refs = [c["bom-ref"] for c in BOM["components"]]
    assert len(set(refs)) == len(refs)
    digests = sum(len(c["hashes"]) for c in BOM["components"])
    assert digests == TEXT.count("--hash=sha256:")
    assert all(c["hashes"] for c in BOM["components"])


def test_everything_is_needed_by_something_that_is_listed() -> None:
    refs = {c["bom-ref"] for c in BOM["components"]} | {BOM["metadata"]["component"]["bom-ref"]}
    needed: set[str] = set()
    for one in BOM["dependencies"]:
        assert one["ref"] in refs
        needed |= set(one["dependsOn"])
    assert needed == refs - {f"pkg:pypi/qdrant-dr@{__version__}"}
    (ours,) = [d for d in BOM["dependencies"] if d["ref"].startswith("pkg:pypi/qdrant-dr@")]
    assert {"httpx", "prefect", "qdrant-client"} <= {
        ref.removeprefix("pkg:pypi/").partition("@")[0] for ref in ours["dependsOn"]
    }


def test_licences_are_those_that_the_packages_state() -> None:
    # of another version than the locked one (`make test-resolved`) no licence is known
    installed = {d.metadata["Name"].lower(): d.version for d in distributions()}
    of = {
        c["name"]: c.get("licenses")
        for c in BOM["components"]
        if installed.get(c["name"]) == c["version"]
    }
    assert len(of) > 50
    assert "pydantic" not in of or of["pydantic"] == [{"expression": "MIT"}]
    assert "requests" not in of or of["requests"] is not None
    assert len([name for name, found in of.items() if found]) > 0.8 * len(of)


def test_a_package_for_some_machines_says_so() -> None:
    text = "a==1 ; sys_platform == 'win32' \\\n    --hash=sha256:" + 64 * "0" + "\n    # via b\n"
    (only,) = locked(text)
    assert (only.marker, only.needed_by) == ("sys_platform == 'win32'", ("b",))
    (component,) = document(text)["components"]
    assert component["properties"] == [{"name": "python:marker", "value": only.marker}]


def test_the_same_lock_gives_the_same_document() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deployments.tools.sbom"],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout) == BOM
    assert document(TEXT + "\n")["serialNumber"] != BOM["serialNumber"]
