"""What the sample files say: the Dockerfile's instructions, compose, Kubernetes documents."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "deployments" / "images"
KUBERNETES = ROOT / "deployments" / "kubernetes"
PINNED = re.compile(r"^[a-z0-9./-]+:(?!latest$)v?\d+\.\d+[\w.-]*$")


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile: its word and its text, joined to one line."""
    text = (IMAGES / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(w, rest) for w, _, rest in (line.partition(" ") for line in joined.splitlines())]


def said(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def health_command() -> list[str]:
    """What the image's HEALTHCHECK runs."""
    (check,) = said("HEALTHCHECK")
    command: list[str] = json.loads(check.partition("CMD ")[2])
    return command


def worker_command() -> list[str]:
    """What the image runs without a command, with the pool's name still a variable."""
    (command,) = (json.loads(c) for c in said("CMD"))
    shell, flag, script = command
    assert (shell, flag) == ("sh", "-c")
    return shlex.split(script.removeprefix("exec "))


def compose() -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load((ROOT / "deployments" / "compose.yaml").read_text())
    return body


def documents() -> list[dict[str, Any]]:
    """Every Kubernetes object of the samples."""
    files = sorted(KUBERNETES.glob("*.yaml"))
    return [d for f in files for d in yaml.safe_load_all(f.read_text())]


def locked(file: Path) -> dict[str, str]:
    """Names and versions of a lock."""
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", file.read_text(), re.MULTILINE
    )
    return dict(pins)
