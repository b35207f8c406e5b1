"""Prefect without the user's profile, for all tests; their limits, and who runs which file."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import settings

from tests.support import limits
from tests.support.by_file import ByFile, rank
from tests.support.prefect import isolate
from tests.support.thorough import THOROUGH

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes import the same modules
sys.dont_write_bytecode = False
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # they cost each process 40 ms; one that forks has none


def _trust_little() -> None:
    """Reading the system's list of authorities is a tenth of a small job, for each client of a
    node; without a real service all is plain HTTP, and tests of TLS name what they trust."""
    authorities = Path(certifi.where()).read_text()
    first = authorities[: authorities.index("-----END CERTIFICATE-----")]
    folder = Path(tempfile.mkdtemp(prefix="qdr-trusted-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "one.pem").write_text(f"{first}-----END CERTIFICATE-----\n")
    os.environ["SSL_CERT_FILE"] = str(folder / "one.pem")


REAL = ("QDRANT_URL", "QDR_TEST_S3_URL", "QDR_TEST_GCS_URL", "QDR_TEST_AZURE_URL")
if not any(os.environ.get(name) for name in REAL):
    _trust_little()

settings.register_profile("busy machine", deadline=None, max_examples=100 if THOROUGH else 25)
settings.load_profile("busy machine")

isolate()  # before any test file imports prefect, which reads its settings then


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(limits)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    return ByFile(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was collected stays: to look for garbage in it again and again takes time."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by file; within a file the order stays."""
    items.sort(key=lambda item: rank(item.nodeid))
