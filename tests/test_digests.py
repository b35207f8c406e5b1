"""Digests of a stream: of the whole and of each block, whatever the pieces it comes in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdrant_dr import digests

BLOCK = 1000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SAMPLE_BLOCK", BLOCK)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def taken(data: bytes, cuts: Sequence[int]) -> digests.StreamDigest:
    digest = digests.StreamDigest()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        digest.update(data[start:end])
    return digest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size=st.integers(0, 5 * BLOCK), cuts=st.lists(st.integers(0, 5 * BLOCK), max_size=20))
def test_digests_are_those_of_the_bytes_whatever_the_pieces(size: int, cuts: list[int]) -> None:
    data = (bytes(range(251)) * 20)[:size]
    digest = taken(data, cuts)
    assert (digest.size_bytes, digest.sha256) == (size, sha256(data))
    assert digest.blocks == tuple(sha256(data[at : at + BLOCK]) for at in range(0, size, BLOCK))


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_asked_in_between_it_goes_on(size: int) -> None:
    """Whoever watches may ask at any time: an answer ends nothing."""
    digest = digests.StreamDigest()
    for at in range(size):
        digest.update(bytes([at % 251]))
        assert len(digest.blocks) == at // BLOCK + 1
    data = (bytes(range(251)) * 20)[:size]
    assert digest.sha256 == sha256(data)
    assert digest.blocks[0] == sha256(data[:BLOCK])


def test_the_digest_of_a_block_is_known_once_all_of_it_passed() -> None:
    digest = digests.StreamDigest()
    digest.update(bytes(BLOCK - 1))
    assert digest.of(0, BLOCK) is None
    digest.update(b"xyz")
    whole = bytes(BLOCK - 1) + b"x"
    assert digest.of(0, BLOCK) == sha256(whole)
    for start, size in ((0, BLOCK - 1), (1, BLOCK), (BLOCK, BLOCK)):
        assert digest.of(start, size) is None
