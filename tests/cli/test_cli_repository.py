"""`repository create|list|show|adopt`, and ids that find their way into the file."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr.cli.config import layout_advice
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.configfile.ids import with_ids
from qdrant_dr.errors import ConfigInvalid

CONFIG = """\
# ours
format: 1
cluster: {name: a, nodes: ["http://127.0.0.1:1"]}
repositories:
  - name: one   # near
    url: ./one
    domain: d1
  - url: ./two
    domain: d2
    name: two
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "qdrant-dr.yaml"
    file.write_text(CONFIG)
    return file


def test_create_prints_ids_and_what_to_do_with_them(qdr: Any, config: Path) -> None:
    said = qdr("repository", "create", "one", "--json")
    assert said.code == 0
    (row,) = said.json["rows"]
    assert row["name"] == "one"
    assert f'put `id: "{row["id"]}"` below `name: one`' in said.err
    assert config.read_text() == CONFIG
    assert (config.parent / "one" / "repository.json").is_file()


def test_save_puts_them_below_the_names_and_changes_nothing_else(qdr: Any, config: Path) -> None:
    said = qdr("repository", "create", "--save", "--json")
    ids = {row["name"]: row["id"] for row in said.json["rows"]}
    assert set(ids) == {"one", "two"}
    kept = [x for x in config.read_text().splitlines() if "id: " not in x]
    assert kept == CONFIG.splitlines()
    found = {r["name"]: r["id"] for r in yaml.safe_load(config.read_text())["repositories"]}
    assert found == ids
    assert qdr("repository", "list").code == 0
    again = qdr("repository", "create", "--save", "--json")
    assert again.code == 0
    assert "every configured repository has an id" in again.err
    assert {row["name"]: row["id"] for row in again.json["rows"]} == ids
    named = qdr("repository", "create", "one")
    assert "so it exists already" in named.err


def test_a_second_create_refuses_and_keeps_the_first(qdr: Any, config: Path) -> None:
    qdr("repository", "create", "one")
    before = (config.parent / "one" / "repository.json").read_bytes()
    said = qdr("repository", "create", "--json")
    assert said.code == 1
    assert [e["code"] for e in said.json["errors"]] == ["conflict"]
    assert [row["name"] for row in said.json["rows"]] == ["two"]
    assert (config.parent / "one" / "repository.json").read_bytes() == before


def test_show_tells_the_id_even_if_the_configured_one_is_wrong(qdr: Any, config: Path) -> None:
    made = qdr("repository", "create", "--save", "--json").json["rows"]
    ids = {row["name"]: row["id"] for row in made}
    config.write_text(config.read_text().replace(ids["one"], "00000000"))
    shown = qdr("repository", "show", "one", "--json")
    assert shown.code == 1
    assert shown.json["rows"][0]["id"] == ids["one"]
    assert shown.json["rows"][0]["configured_id"] == "00000000"
    listed = qdr("repository", "list", "--json")
    assert listed.code == 3
    assert [r["state"] for r in listed.json["rows"]] == ["repository-mismatch", "ok"]
    assert qdr("repository", "show", "two").code == 0


def test_a_disk_that_is_not_mounted_is_no_empty_repository(qdr: Any, config: Path) -> None:
    qdr("repository", "create", "--save")
    (config.parent / "one").rename(config.parent / "elsewhere")
    (config.parent / "one").mkdir()
    listed = qdr("repository", "list", "--json")
    assert [r["state"] for r in listed.json["rows"]] == ["repository-missing", "ok"]
    said = qdr("list", "--json")
    assert said.code == 3
    assert said.json["errors"][0]["code"] == "repository-missing"


def test_all_unmounted_is_failed(qdr: Any, config: Path) -> None:
    qdr("repository", "create", "--save")
    for name in ("one", "two"):
        (config.parent / name).rename(config.parent / f"{name}-elsewhere")
    assert qdr("repository", "list").code == 1
    assert qdr("list").code == 1


@pytest.mark.parametrize("command", ["create", "show"])
def test_an_unknown_name_lists_the_known(command: str, qdr: Any, config: Path) -> None:
    said = qdr("repository", command, "three")
    assert said.code == 2
    assert "choose from one, two" in said.err


def test_an_old_id_is_replaced() -> None:
    text = CONFIG.replace("    url: ./one\n", "    id:\n    url: ./one\n")
    changed = with_ids(text, {"one": "0a0b0c0d", "two": "12345678"})
    found = {r["name"]: r["id"] for r in yaml.safe_load(changed)["repositories"]}
    assert found == {"one": "0a0b0c0d", "two": "12345678"}


@pytest.mark.parametrize(
    "written",
    [
        "repositories: [{name: one, url: ./one, domain: d}]\n",
        "repositories:\n  - {url: ./one, domain: 'ä: {', name: one}   # ours\n",
        "repositories:\n  - {\n    domain: d, name: one,\n    url: ./one,\n  }\n",
    ],
)
def test_an_entry_in_braces_gets_its_id_too(written: str, qdr: Any, config: Path) -> None:
    head = "format: 1\ncluster: {name: a, nodes: ['http://h:1']}\n"
    config.write_text(head + written, encoding="utf-8")
    said = qdr("repository", "create", "--save", "--json")
    assert (said.code, said.json["rows"][0]["name"]) == (0, "one")
    made = said.json["rows"][0]["id"]
    text = config.read_text(encoding="utf-8")
    assert text.replace(f'id: "{made}", ', "") == head + written
    assert yaml.safe_load(text)["repositories"][0]["id"] == made
    assert qdr("repository", "list").code == 0


def test_what_cannot_be_added_to_is_left_to_its_author(qdr: Any, config: Path) -> None:
    text = "format: 1\ncluster: {name: a, nodes: ['http://h:1']}\n"
    text += 'repositories:\n  - url: ./one\n    domain: d\n    "name": one\n'
    config.write_text(text)
    said = qdr("repository", "create", "--save", "--json")
    assert said.json["rows"][0]["name"] == "one"  # it exists: its id must not be lost
    assert said.json["errors"][0]["code"] == "config-invalid"
    assert config.read_text() == text
    with pytest.raises(ConfigInvalid):
        with_ids(text, {"one": "0a0b0c0d"})


def test_a_file_that_cannot_be_written_keeps_its_content(qdr: Any, config: Path) -> None:
    from qdrant_dr.configfile import save_ids

    with pytest.raises(ConfigInvalid, match="cannot be written"):
        save_ids(config.parent / "absent.yaml", {"one": "0a0b0c0d"})


@pytest.fixture
def copied(qdr: Any, config: Path) -> str:
    """`one` is a repository, `two` a copy of it; the id of both."""
    said = qdr("repository", "create", "one", "--save", "--json")
    shutil.copytree(config.parent / "one", config.parent / "two")
    return str(said.json["rows"][0]["id"])


def test_adopt_says_what_it_would_do_and_changes_nothing(
    qdr: Any, config: Path, copied: str
) -> None:
    before = (config.parent / "two" / "repository.json").read_bytes()
    said = qdr("repository", "adopt", "--json")
    assert said.code == 0
    (row,) = said.json["rows"]
    assert (row["name"], row["was"], row["id"], row["backups"]) == ("two", copied, None, 0)
    assert "nothing was changed; stop whatever copies into it, then add --execute" in said.err
    assert (config.parent / "two" / "repository.json").read_bytes() == before
    assert list((config.parent / "two").glob("probes/*")) == []


def test_an_adopted_copy_is_a_repository_of_its_own(qdr: Any, config: Path, copied: str) -> None:
    said = qdr("repository", "adopt", "two", "--execute", "--save", "--json")
    assert said.code == 0, said.err
    (row,) = said.json["rows"]
    assert row["was"] == copied != row["id"]
    assert "next: qdrant-dr verify -r two" in said.err
    found = {r["name"]: r["id"] for r in yaml.safe_load(config.read_text())["repositories"]}
    assert found == {"one": copied, "two": row["id"]}
    assert "# near" in config.read_text()
    assert qdr("repository", "list").code == 0
    shown = qdr("repository", "show", "two", "--json").json["rows"][0]
    assert (shown["id"], shown["adopted_from"]) == (row["id"], copied)
    assert "every configured repository has an id" in qdr("repository", "adopt").err


def test_adopt_refuses_with_the_reason(qdr: Any, config: Path, copied: str) -> None:
    (config.parent / "two" / "repository.json").unlink()
    missing = qdr("repository", "adopt", "two", "--json")
    assert (missing.code, missing.json["errors"][0]["code"]) == (1, "repository-missing")
    runs = config.parent / "one" / "runs" / f"{datetime.now(UTC):%Y/%m}"
    runs.mkdir(parents=True)
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-7f3a9c"
    (runs / f"{run}.start.json").write_text("{}")
    under_way = qdr("repository", "adopt", "one", "--execute", "--json")
    assert (under_way.code, under_way.json["errors"][0]["code"]) == (4, "plan-refused")
    assert run in under_way.json["errors"][0]["message"]
    assert qdr("repository", "adopt", "three").code == 2
    alone = qdr("repository", "adopt", "two", "--save")
    assert (alone.code, "--save stores the ids that --execute makes" in alone.err) == (2, True)
    assert qdr("repository", "show", "one", "--json").json["rows"][0]["id"] == copied


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("localhost:6333", "http://localhost:6333"),
        ("qdrant", "http://qdrant"),
        ("https://q.example:6333/", "https://q.example:6333"),
        ("[::1]:6333", "http://[::1]:6333"),
        ("HTTP://h:6333", "http://h:6333"),
        (" http://h:6333 ", "http://h:6333"),
        ("http://h:6333/dashboard#/collections", "http://h:6333"),
        ("https://h:6333/behind/a/proxy/", "https://h:6333/behind/a/proxy"),
    ],
)
def test_init_takes_what_people_type(typed: str, address: str, qdr: Any, tmp_path: Path) -> None:
    file = tmp_path / "fresh.yaml"
    said = qdr("-c", str(file), "init", "--url", typed)
    assert said.code == 0, said.err
    assert yaml.safe_load(file.read_text())["cluster"]["nodes"] == [address]
    assert (f"{typed} was read as" in said.err) == (typed != address)


@pytest.mark.parametrize(
    "typed",
    [
        "", "ftp://h", "http://", "h:port", "http://u:pw@h", "a b", "http:/h:6333", "https//h",
        "//h", "u:pw@h:6333", "http://h:6333?api-key=pw", "http://h:99999", "http://[::1",
    ],
)  # fmt: skip
def test_init_refuses_what_is_no_address(typed: str, qdr: Any, tmp_path: Path) -> None:
    file = tmp_path / "fresh.yaml"
    said = qdr("-c", str(file), "init", "--url", typed)
    assert said.code == 2, said.err
    assert "is not the address of a server" in said.err
    assert "pw" not in said.err
    assert not file.exists()


@pytest.mark.parametrize(
    ("typed", "doubt"),
    [("h:6334", "6334 is usually the gRPC port"), ("h", "this means port 80"), ("h:6333", "")],
)
def test_init_names_what_is_often_meant_otherwise(typed: str, doubt: str, qdr: Any) -> None:
    said = qdr("init", "--url", typed)
    assert said.code == 0
    assert ("REST is on 6333" in said.err or "listens on 6333" in said.err) == bool(doubt)
    assert doubt in said.err


def test_init_recommends_a_layout(qdr: Any) -> None:
    said = qdr("init")
    assert said.code == 0
    assert "layout of local: plain" in said.err
    assert said.err.count("layout of") == 1


@pytest.mark.parametrize(
    ("url", "layout"),
    [("./backups", "plain"), ("file:///srv/backups", "plain"), ("s3://bucket/a", "chunked"),
     ("gs://bucket", "chunked"), ("abfs://container/a", "chunked")],
)  # fmt: skip
def test_a_disk_takes_archives_and_an_object_store_blocks(url: str, layout: str) -> None:
    repository = RepositoryConfig(name="there", url=url, domain="d")
    assert layout_advice(repository).startswith(f"layout of there: {layout}, ")


def test_init_where_nothing_can_be_written(qdr: Any, tmp_path: Path) -> None:
    said = qdr("init", "-c", str(tmp_path / "not" / "there.yaml"))
    assert said.code == 2
    assert "cannot be written" in said.err
    assert "create its folder" in said.err


def test_no_backup_is_not_said_of_what_could_not_be_read(qdr: Any, config: Path) -> None:
    qdr("repository", "create", "--save")
    assert "no backup" in qdr("list").err
    (config.parent / "one").rename(config.parent / "away")
    assert "no backup in what could be read" in qdr("list").err
    (config.parent / "two").rename(config.parent / "away-too")
    assert "no backup" not in qdr("list").err


@pytest.mark.parametrize("job", [["verify"], ["drill"], ["verify", "movies@latest"]])
def test_where_nothing_was_backed_up_the_next_step_is_backup(
    job: list[str], qdr: Any, config: Path
) -> None:
    qdr("repository", "create", "--save")
    said = qdr(*job)
    assert said.code != 0
    assert "run `qdrant-dr backup`" in said.err + said.out
