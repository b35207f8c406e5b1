"""What is asked for every minute, or at three in the morning, starts without what it needs not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.world import make_world

HEAVY = (
    "pandas", "pyarrow", "numpy", "qdrant_client", "qdrant_edge", "prefect", "httpx", "jinja2",
    "s3fs", "gcsfs", "adlfs", "botocore", "aiohttp", "qdrant_dr.cluster", "qdrant_dr.proof",
    "qdrant_dr.sandbox",
)  # fmt: skip
CODE = """
import contextlib, io, json, sys
from qdrant_dr.cli import main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
    code = main(sys.argv[1:])
print(json.dumps([code, out.getvalue(), sorted(sys.modules)]))
"""


def run(*arguments: str, **environment: str) -> tuple[int, str, set[str]]:
    """Exit code, what was said, and every module that a new process came to import."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    code, said, modules = json.loads(done.stdout)
    return code, said, set(modules)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["status", "--help"], ["status"], ["list"]],
    ids=" ".join,
)
def test_it_imports_only_what_it_needs(arguments: list[str], tmp_path: Path) -> None:
    world = make_world(tmp_path, "http://127.0.0.1:9")
    code, said, modules = run("-c", world.reference, *arguments)
    assert code in (0, 1)  # status: nothing was ever backed up
    assert said.strip()
    assert "qdrant_dr.cli.app" in modules
    assert sorted(modules.intersection(HEAVY)) == []
    if arguments[0].startswith("--"):
        assert "pydantic" not in modules
        assert "fsspec" not in modules


def test_a_store_in_the_cloud_brings_its_own_client_alone(tmp_path: Path) -> None:
    world = make_world(tmp_path, "http://127.0.0.1:9", repositories=("one",))
    body = yaml.safe_load(world.file.read_text())
    nobody = {"endpoint_url": "http://127.0.0.1:9", "key": "env:NO_KEY", "secret": "env:NO_KEY"}
    body["repositories"][0] |= {"url": "s3://backups/qdrant", "options": nobody}
    world.file.write_text(yaml.safe_dump(body))
    code, said, modules = run("-c", world.reference, "status", NO_KEY="any")
    assert code == 1
    assert "one" in said
    assert "s3fs" in modules
    clients = {"s3fs", "botocore", "aiohttp", "httpx"}  # aiobotocore takes httpx if it is there
    assert sorted(modules.intersection(set(HEAVY) - clients)) == []
