"""What stands behind a reference is a key and nothing else, and no error shows any of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdrant_dr import secrets
from qdrant_dr.errors import SecretMissing
from qdrant_dr.secrets import resolve, resolve_options

SECRET = "hunter2-and-more"
KINDS = ["env:KEY", "file:{}/key", "secret:key", "secret:elsewhere"]


def put(raw: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text behind every kind of reference."""
    (tmp_path / "key").write_bytes(raw)
    text = raw.decode(errors="surrogateescape")
    monkeypatch.setenv("KEY", text)
    monkeypatch.setenv("QDR_SECRETS_DIR", str(tmp_path))
    monkeypatch.setattr(secrets, "_resolvers", [{"elsewhere": text}.get])


@pytest.mark.parametrize("reference", KINDS)
@pytest.mark.parametrize("around", ["{}", "{}\n", "{}\r\n", " {}\t", "\n{}\n\n"])
def test_space_around_a_secret_is_not_part_of_it(
    reference: str, around: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(around.format(SECRET).encode(), tmp_path, monkeypatch)
    assert resolve(reference.format(tmp_path)) == SECRET


@pytest.mark.parametrize("reference", KINDS)
@pytest.mark.parametrize("inside", [b"\n", b"\r", b"\x1b", b"\x7f", b"\xe2\x80\x8b", b"\xff"])
def test_what_can_be_no_key_is_refused_without_its_text(
    reference: str, inside: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = SECRET.encode()[:7], SECRET.encode()[7:]
    put(first + inside + second, tmp_path, monkeypatch)
    with pytest.raises(SecretMissing) as caught:
        resolve(reference.format(tmp_path))
    said = str(caught.value) + repr(caught.value)
    assert not any(part in said for part in ("hunter2", "more", SECRET))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("reference", KINDS)
def test_an_empty_secret_is_a_missing_one(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(b" \n", tmp_path, monkeypatch)
    with pytest.raises(SecretMissing, match="is empty"):
        resolve(reference.format(tmp_path))


def test_options_are_resolved_by_the_same_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", f"{SECRET}\n")
    assert resolve_options({"a": {"b": ["env:KEY", "x"]}}) == {"a": {"b": [SECRET, "x"]}}
