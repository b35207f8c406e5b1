"""The image: pinned, from the lock, as nobody special, and what its steps name is there."""

from __future__ import annotations

import fnmatch
import json
import re
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from qdrant_dr import configfile
from qdrant_dr.version import __version__
from tests.support.samples import IMAGES, KUBERNETES, PINNED, ROOT, instructions, locked, said

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = ("gcs", "azure", "dask")
FILES = [
    IMAGES / "Dockerfile",
    ROOT / "deployments" / "compose.yaml",
    *sorted(KUBERNETES.glob("*")),
]


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_what_is_installed_is_what_is_tested(name: str) -> None:
    tested = locked(ROOT / "requirements.lock")
    installed = locked(IMAGES / name)
    assert len(installed) > 5
    assert {n: v for n, v in installed.items() if tested.get(n) != v} == {}


def test_the_image_has_what_it_needs_and_nothing_to_develop_with() -> None:
    installed = locked(IMAGES / "requirements.lock")
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = PROJECT["project"]["dependencies"] + [r for e in EXTRAS for r in extras[e]]
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.specifier.contains(installed[requirement.name], prereleases=True), text
    for tool in ("pytest", "hypothesis", "moto", "ruff", "mypy", "pre-commit", "hatchling"):
        assert tool in locked(ROOT / "requirements.lock")
        assert tool not in installed
    assert "make lock" in (IMAGES / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert all(
        f"deployments/images/{name}" in makefile for name in ("requirements.lock", "build.lock")
    )


def test_the_base_is_pinned_and_a_python_we_support() -> None:
    bases = {text.partition(" AS ")[0] for text in said("FROM")}
    assert len(bases) == 1
    (base,) = bases
    assert PINNED.match(base)
    python = re.search(r"python:(\d+\.\d+\.\d+)-slim", base)
    assert python is not None
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(python[1])
    assert python[1].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")


def test_nothing_is_installed_that_has_no_hash() -> None:
    installs = [step for run in said("RUN") for step in run.split("&&") if "pip install" in step]
    assert len(installs) == 3
    for step in installs:
        assert "--require-hashes" in step or "--no-index" in step, step
        assert "--no-deps" in step


def test_it_runs_as_nobody_special_below_tini() -> None:
    words = [word for word, _ in instructions()]
    assert said("USER") == ["10001:10001"]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    assert [json.loads(text) for text in said("ENTRYPOINT")] == [["tini", "--"]]
    assert any("tini" in run for run in said("RUN"))


def test_its_label_is_the_version() -> None:
    (labels,) = said("LABEL")
    assert f'org.opencontainers.image.version="{__version__}"' in labels


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines()
               if line and not line.startswith("#")]  # fmt: skip
    sources = [s for text in said("COPY") if "--from" not in text for s in text.split()[:-1]]
    assert "qdrant_dr" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert sent(source, ignored), f"{source} is not sent to the build"
    for secret in (".env", "deployments/.env", "qdrant-dr.yaml", ".git", ".venv", "backups"):
        assert not sent(secret, ignored), secret


def sent(path: str, ignored: list[str]) -> bool:
    """Docker's rule: the last pattern that matches a path or a folder above it decides."""
    steps = path.split("/")
    above = ["/".join(steps[: n + 1]) for n in range(len(steps))]
    kept = True
    for line in ignored:
        pattern = line.removeprefix("!").removeprefix("**/")
        anywhere = line.removeprefix("!").startswith("**/")
        names = steps if anywhere else above
        if any(fnmatch.fnmatchcase(n, pattern) and (anywhere or n.count("/") == pattern.count("/"))
               for n in names):  # fmt: skip
            kept = line.startswith("!")
    return kept


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_what_was_not_run_says_so(file: object) -> None:
    text = file.read_text()  # type: ignore[attr-defined]
    assert "UNTRIED" in text or "untried" in text
    assert "hecked" in text or "was tried" in text


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_no_secret_is_written_down(file: object) -> None:
    text = file.read_text()  # type: ignore[attr-defined]
    for name, value in re.findall(
        r"(?im)^\s*(\w*(?:password|secret_key|api_key|auth_string)\w*):\s*(\S+)", text
    ):
        assert value.startswith(("${", "secret:", "/run/secrets")), f"{name}: {value}"


def test_the_configuration_of_compose_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configfile.load(str(IMAGES / "qdrant-dr.yaml"))
    assert config.repositories[0].id is None  # `setup` adds it
    assert config.drill.scratch is not None
    assert config.drill.scratch.disposable
