"""What stands behind a reference is a key and nothing else, and no error shows any of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import secrets
from qdrant_dr.errors import SecretMissing
from qdrant_dr.secrets import block_options, resolve, resolve_options

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


BLOCK = "block:aws-credentials/prod"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of secrets, in a process that has no Prefect."""
    monkeypatch.setenv("QDR_SECRETS_DIR", str(tmp_path))
    monkeypatch.setattr(secrets, "_block_readers", [])
    (tmp_path / "aws-credentials").mkdir()
    return tmp_path


def test_a_block_needs_prefect_or_a_file(folder: Path) -> None:
    with pytest.raises(SecretMissing, match="no Prefect is loaded here") as caught:
        block_options(BLOCK)
    assert "the file aws-credentials/prod below $QDR_SECRETS_DIR" in caught.value.hint
    (folder / "aws-credentials/prod").write_text(json.dumps({"key": "AKIA\n", "secret": SECRET}))
    assert block_options(BLOCK) == {"key": "AKIA", "secret": SECRET}
    secrets.register_block_reader(lambda _: pytest.fail("the file comes first"))
    assert block_options(BLOCK)["key"] == "AKIA"


@pytest.mark.parametrize("text", [SECRET, f'["{SECRET}"]', f'{{"secret": "{SECRET}'])
def test_a_file_that_stands_for_a_block_is_an_object(folder: Path, text: str) -> None:
    (folder / "aws-credentials/prod").write_text(text)
    with pytest.raises(SecretMissing, match="is not a JSON object") as caught:
        block_options(BLOCK)
    assert SECRET not in str(caught.value) + repr(caught.value)


def test_a_key_of_a_block_must_be_one_line(folder: Path) -> None:
    secrets.register_block_reader(lambda _: {"secret": f"{SECRET}\nx", "token": {"a": "b\nc"}})
    with pytest.raises(SecretMissing, match="secret of block:aws-credentials/prod holds a line"):
        block_options(BLOCK)


def test_options_lie_over_those_of_a_block(folder: Path) -> None:
    seen: list[str] = []

    def reader(name: str) -> dict[str, Any]:
        seen.append(name)
        return {"key": "k", "endpoint_url": "e", "client_kwargs": {"region_name": "r", "verify": 0}}

    secrets.register_block_reader(reader)
    over = {"endpoint_url": "mine", "client_kwargs": {"region_name": "mine"}, "x": 1}
    assert resolve_options(over, BLOCK) == {
        "key": "k",
        "endpoint_url": "mine",
        "client_kwargs": {"region_name": "mine", "verify": 0},
        "x": 1,
    }
    assert seen == ["aws-credentials/prod"]
    assert resolve_options(over) == over
