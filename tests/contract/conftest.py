"""The places that contract suites run in: emulators start once per session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stores import EVERYTHING, PLACES, Place

KINDS = ("memory", "file", "s3", "gcs", "azure")


@pytest.fixture(scope="session", params=KINDS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    kind = request.param
    if kind == "memory":
        yield Place(kind, "memory://contract", proves=frozenset({"time", "late writer"}))
    elif kind == "file":
        base = tmp_path_factory.mktemp("stores")
        yield Place(
            kind,
            f"file://{base}",
            proves=EVERYTHING - {"credentials", "endpoint", "bucket", "signed"},
        )
    else:
        with PLACES[kind]() as made:
            yield made
