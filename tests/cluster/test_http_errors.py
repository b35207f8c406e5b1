"""What a node answers, as it is shown: the cause stays, names do not crowd it out."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.cluster.http_errors import cause_hint, refused, server_words, shortened
from qdrant_dr.errors import ClusterError, NodeBusy, NodeUnreachable, ServerFailed

CAUSE = "File name too long (os error 36)"


def answered(status: int, words: str) -> ClusterError:
    body = json.dumps({"status": {"error": words}}).encode()
    return refused(status, body, url="http://q", doing="do it", key=None, collection=None)


@pytest.mark.parametrize(
    "words",
    [
        f"failed to create ./tmp/{'n' * 255}-arc: {CAUSE}",
        f'failed to create ./tmp/{"n" * 255}-arc: {CAUSE} at path "/x/{"n" * 255}-arc"',
        f'{CAUSE} at path "{"n" * 255}": {"and then this happened " * 30}',
        f"{'first this happened ' * 30}: {CAUSE}",
    ],
)
def test_the_cause_is_not_cut_off(words: str) -> None:
    said = answered(500, words)
    assert CAUSE in said.message
    assert len(said.message) < 500
    assert "alias" in said.hint


@given(st.text(max_size=3000), st.text(max_size=100))
def test_the_end_of_a_long_message_is_kept(beginning: str, end: str) -> None:
    words = shortened(f"{beginning} {end}")
    assert len(words) <= 410
    if len(end.split()[-1:] and end.rsplit(maxsplit=1)[-1]) < 60 and not end[-1:].isspace():
        assert words.endswith(end.rsplit(maxsplit=1)[-1] if end.split() else "")


def test_a_short_message_is_as_it_was() -> None:
    assert server_words(f"x {'y' * 300}".encode()) == f"x {'y' * 300}"


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ("No space left on device (os error 28)", "free disk"),
        ("Read-only file system (os error 30)", "read-only"),
        ("Too many open files (os error 24)", "ulimit -n"),
        ("Input/output error (os error 5)", "dmesg"),
        ("something of tomorrow", None),
    ],
)
def test_a_cause_has_its_own_step(words: str, step: str | None) -> None:
    hint = cause_hint(f"Service internal error: {words}")
    assert hint is None if step is None else step in (hint or "")
    assert "free disk" not in answered(500, "something of tomorrow").hint


@pytest.mark.parametrize(
    ("status", "kind"), [(429, NodeBusy), (503, NodeUnreachable), (500, ServerFailed)]
)
def test_busy_is_not_unreachable(status: int, kind: type[ClusterError]) -> None:
    said = answered(status, "Rate limiting exceeded: Read rate limit exceeded: Retry after 3s")
    assert type(said) is kind
    assert said.transient is (kind is not ServerFailed)
    assert isinstance(said, NodeUnreachable) is (status == httpx.codes.SERVICE_UNAVAILABLE)
