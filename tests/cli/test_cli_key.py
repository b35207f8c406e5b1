"""Encrypted repositories from the command line: keys, backups, and what lies there in clear."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from qdrant_dr.cli import main
from tests.support.encrypted import written_below
from tests.support.servers import sandbox_server
from tests.support.world import make_world, seed

CITY = "Xanadu-on-Thames"
CONFIG = """\
format: 1
cluster: {name: a, nodes: ["http://127.0.0.1:1"]}
repositories:
  - name: vault
    url: ./vault
    domain: d1
    key: file:KEY
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "qdrant-dr.yaml"
    file.write_text(CONFIG.replace("KEY", str(tmp_path / "vault.key")))
    return file


@pytest.fixture
def vault(qdr: Any, config: Path) -> Path:
    made = qdr("repository", "create", "--layout", "chunked", "--encrypt", "--save", "--json")
    assert made.code == 0, made.err
    (row,) = made.json["rows"]
    assert row["layout"] == "chunked"
    assert len(row["key_id"]) == 16
    assert "ONE secret opens it" in made.err
    assert "key add vault --secret" in made.err
    return config.parent


def row_of(said: Any) -> dict[str, Any]:
    (row,) = said.json["rows"]
    return dict(row)


def test_keys_are_added_listed_rotated_exported_and_removed(qdr: Any, vault: Path) -> None:
    (vault / "other").write_text("cd" * 32)
    reference = f"file:{vault / 'other'}"
    added = row_of(
        qdr("key", "add", "vault", "--secret", reference, "--label", "safe, Berlin", "--json")
    )
    assert (added["locked_by"], added["label"]) == ("key-file", "safe, Berlin")
    said = qdr("key", "list", "vault", "--json")
    assert said.code == 0
    assert [r["opens"] for r in said.json["rows"]] == [True, False]
    first = said.json["rows"][0]["slot"]
    dry = qdr("key", "remove", "vault", added["slot"])
    assert dry.code == 0
    assert "nothing was removed" in dry.err
    rotated = qdr("key", "rotate", "vault", "--json")
    new = row_of(rotated)
    assert new["key"] != added["key"]
    assert added["slot"] in rotated.err
    assert f'key_id: "{new["key"]}"' in " ".join(rotated.err.split())
    gone = qdr("key", "remove", "vault", added["slot"], "--execute")
    assert gone.code == 0
    assert "key rotate vault" in gone.err
    last = qdr("key", "remove", "vault", first, "--execute", "--json")
    assert last.code == 4
    assert "is the last slot" in last.json["errors"][0]["message"]
    out = vault / "exported"
    exported = qdr("key", "export", "vault", "--out", str(out), "--json")
    assert [r["key"] for r in exported.json["rows"]] == [added["key"], new["key"]]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.read_text().split()[2] not in exported.out + exported.err
    assert qdr("key", "export", "vault", "--out", str(out)).code == 2


def test_the_master_key_is_named_in_the_configuration(qdr: Any, vault: Path, config: Path) -> None:
    text = config.read_text()
    first = row_of(qdr("repository", "show", "vault", "--json"))["key_id"]
    assert f'    key_id: "{first}"\n' in text
    config.write_text(text.replace(f'    key_id: "{first}"\n', ""))
    said = qdr("repository", "list", "--json")
    assert said.code != 0
    assert f'put `key_id: "{first}"` below `name: vault`' in said.json["errors"][0]["hint"]
    config.write_text(text)
    new = row_of(qdr("key", "rotate", "vault", "--json"))["key"]
    told = qdr("check", "-r", "vault", "--json")
    (row,) = [r for r in told.json["rows"] if r["what"] == "key"]
    assert row["state"] == "degraded"
    assert f'put `key_id: "{new}"` below `name: vault`' in row["next_step"]
    newer = row_of(qdr("key", "rotate", "vault", "--save", "--json"))["key"]
    assert config.read_text() == text.replace(first, newer)
    assert qdr("repository", "list").code == 0


def test_a_lost_key_is_told_with_its_slots_by_every_command(qdr: Any, vault: Path) -> None:
    slot = qdr("key", "list", "vault", "--json").json["rows"][0]["slot"]
    (vault / "vault.key").write_text("00" * 32)
    for words in (["repository", "list"], ["check", "-r", "vault"], ["status"], ["list"]):
        said = qdr(*words, "--json")
        assert said.code != 0, words
        told = json.dumps(said.json) + said.err
        assert slot in told, words
        assert "00" * 32 not in told
    listed = qdr("key", "list", "vault", "--json")
    assert listed.code == 3
    assert [r["slot"] for r in listed.json["rows"]] == [slot]
    shown = qdr("repository", "show", "vault", "--json")
    assert row_of(shown)["key_id"] == row_of(listed)["key"]


@pytest.mark.parametrize(
    "words",
    [
        ["add", "vault"],
        ["add", "vault", "--secret", "file:x", "--recipient", "age1x"],
        ["add", "vault", "--secret", "not a reference"],
        ["list", "nowhere"],
        ["remove", "vault", "20260101T000000Z-000000"],
    ],
)
def test_wrong_words_are_refused(qdr: Any, vault: Path, words: list[str]) -> None:
    assert qdr("key", *words).code == 2


def test_a_recipient_or_a_wrong_secret_is_refused(qdr: Any, vault: Path) -> None:
    said = qdr("key", "add", "vault", "--recipient", "age1nonsense")
    assert said.code == 1
    assert "no recipient of age" in said.err
    (vault / "short").write_text("hunter2")
    short = qdr("key", "add", "vault", "--secret", f"file:{vault / 'short'}")
    assert short.code == 1
    assert "hunter2" not in short.err


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox_server(tmp_path_factory.mktemp("source")) as server:
        seed(server.url, "movies", points=60)
        httpx.post(
            f"{server.url}/collections/movies/points/payload?wait=true",
            json={"payload": {"city": CITY}, "points": list(range(60))},
        ).raise_for_status()
        yield server.url


def test_a_backup_is_encrypted_proven_and_restored(
    qdr: Any, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    world = make_world(tmp_path / "w", source, repositories=("plain",), copies={"quorum": 1})
    body = yaml.safe_load(world.file.read_text())
    folder = tmp_path / "w" / "vault"
    body["repositories"].append({
        "name": "vault", "url": folder.as_uri(), "domain": "v", "key": f"file:{tmp_path / 'key'}",
    })  # fmt: skip
    world.file.write_text(yaml.safe_dump(body))
    (tmp_path / "qdrant-dr.yaml").symlink_to(world.file)
    made = qdr("repository", "create", "vault", "--layout", "chunked", "--encrypt", "--save")
    assert made.code == 0, made.err
    done = qdr("backup", "-v")
    assert done.code == 0, done.err
    assert CITY.encode() in written_below(tmp_path / "w" / "plain")
    stored = written_below(folder)
    assert CITY.encode() not in stored
    key = (tmp_path / "key").read_text().strip()
    everywhere = written_below(tmp_path / "w") + written_below(tmp_path / "cache")
    assert key.encode() not in everywhere
    assert key not in done.out + done.err
    assert qdr("key", "rotate", "vault").code == 0
    verified = qdr("verify", "movies@latest", "-r", "vault", "--depth", "content", "--json")
    assert verified.code == 0, verified.err
    restored = qdr(
        "restore", "movies@latest", "-r", "vault", "--to", source, "--as", "back", "--execute"
    )
    assert restored.code == 0, restored.err
    assert httpx.get(f"{source}/collections/back").json()["result"]["points_count"] == 60
    httpx.delete(f"{source}/collections/back")
    again = qdr("backup", "movies", "-q")
    assert again.code == 0, again.err
    # with a configuration that lacks `key_id` it is read, and nothing gets there
    config = tmp_path / "qdrant-dr.yaml"
    pinned = config.read_text()
    assert "key_id: " in pinned
    config.write_text("".join(ln for ln in pinned.splitlines(True) if "key_id" not in ln))
    got = qdr("get", "movies@latest", "-r", "vault", "--out", str(tmp_path / "movies.snapshot"))
    assert got.code == 0, got.err
    assert qdr("verify", "movies@latest", "-r", "vault", "--depth", "bytes", "-q").code in (0, 3)
    told = json.dumps(qdr("status", "--json").json)
    assert "does not say which master key is ours" in told
    assert "put `key_id: " in told
    unpinned = qdr("backup", "movies", "-q", "--json")
    assert unpinned.code == 3, unpinned.err
    assert "does not say which master key is ours" in json.dumps(unpinned.json)
    config.write_text(pinned)
    # without its key the vault is left behind, and the plain repository gets its copy
    (tmp_path / "key").rename(tmp_path / "lost")
    alone = qdr("backup", "movies", "-q", "--json")
    assert alone.code == 3, alone.err
    assert "key file of 20" in json.dumps(alone.json)
    assert qdr("verify", "movies@latest", "-r", "vault", "-q").code != 0


def test_help_of_keys_names_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "add", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Never the secret itself" in said
