"""The whole promise on the command line: back up, look, rot, heal, drill, report, restore."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from qdrant_dr import layout
from qdrant_dr.cli.byhand import by_hand
from qdrant_dr.config import Config
from tests.support.records import catalog, config, manifest
from tests.support.servers import Server, sandbox_server
from tests.support.world import World, make_world, seed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sandbox_server(tmp_path_factory.mktemp("source")) as server:
        for name in ("movies", "users"):
            seed(server.url, name, points=40)
        aliases = {"create_alias": {"collection_name": "movies", "alias_name": "live movies"}}
        httpx.post(
            f"{server.url}/collections/aliases", json={"actions": [aliases]}, trust_env=False
        ).raise_for_status()
        yield server


@pytest.fixture(scope="module")
def world(source: Server, tmp_path_factory: pytest.TempPathFactory) -> World:
    exclude = [{"match": "users", "reason": "rebuilt nightly"}]
    return make_world(
        tmp_path_factory.mktemp("world"), source.url, collections={"exclude": exclude},
        report={"url": "./reports"},
    )  # fmt: skip


def column(rows: list[dict[str, Any]], key: str) -> list[Any]:
    return [row.get(key) for row in rows]


def test_all_commands_work_from_the_first_backup_to_the_report(world: World, qdr: Any) -> None:
    def run(*words: str) -> Any:
        return qdr(*words, "-c", world.reference, "--json")

    dry = run("backup", "--dry-run")
    assert dry.code == 0
    assert world.manifests("one") == []

    made = run("backup", "--note", "by a test")
    assert (made.code, made.json["verdict"]) == (0, "ok"), made.json["errors"]
    left_out = [row for row in made.json["rows"] if row["unit"] == "select"]
    assert column(left_out, "verdict") == ["excluded"]
    assert "rebuilt nightly" in left_out[0]["remark"]
    assert len(world.manifests("one")) == len(world.manifests("two")) == 1
    (kept,) = world.manifests("one")
    assert kept.note == "by a test"

    listed = run("list")
    (row,) = listed.json["rows"]
    assert (row["collection"], row["points"], row["copies"]) == ("movies", 40, 2)
    assert (row["proven"], row["depth"]) == (True, "content")
    assert run("list", "--unproven").json["rows"] == []
    assert run("list", "nothing").code == 1

    shown = run("show", "movies@latest-proven", "--proofs")
    assert shown.code == 0
    (facts,) = shown.json["rows"]
    assert [c["depth"] for c in facts["copies"]] == ["content", "bytes"]
    assert len(facts["proofs"]) == 2
    assert "content-proof" not in shown.err

    sampled = run("verify", "--depth", "bytes", "--sample", "50%", "--seed", "7", "-r", "two")
    assert sampled.code == 0
    assert "of a sample of 50 % seen" in sampled.json["rows"][0]["remark"]

    part = next(world.parts("two"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    found = run("verify")
    assert found.code == 1
    assert "bytes-differ" in {e["code"] for e in found.json["errors"]}
    assert run("show", "movies@latest").json["rows"][0]["copies"][1]["state"] == "damaged"

    healed = run("replicate")
    assert healed.code == 0, healed.json["errors"]
    assert "heal" in column(healed.json["rows"], "unit")
    assert run("verify", "movies@latest", "-r", "two").code == 0

    drilled = run("drill", "movies", "--engine", "edge")
    assert drilled.code == 0, drilled.json["errors"]
    assert "read back in" in drilled.json["rows"][0]["remark"]
    assert "recovery time" not in drilled.json["rows"][0]["remark"]

    report = run("report")
    assert report.code == 0, report.json["errors"]
    (written,) = report.json["rows"]
    assert written["headline"].startswith("1 of 1 collection restorable")
    page = Path(written["folder"]) / "report.html"
    assert page.is_relative_to(world.file.parent / "reports")
    assert b"<html" in page.read_bytes()

    jobs = [end.start.job for end in world.ends("one")]
    # the dry run left no record
    assert [j for j in jobs if j != "verify"] == ["backup", "replicate", "drill", "report"]


def test_the_printed_commands_restore_it(world: World, qdr: Any, tmp_path: Path) -> None:
    """What `show` prints is run by a shell, against an empty server."""
    if not world.manifests("one"):
        assert qdr("backup", "-c", world.reference).code == 0
    steps = qdr("show", "movies@latest", "-c", world.reference, "--json").json["rows"][0]
    with sandbox_server(tmp_path / "empty") as empty:
        script = "\n".join(["set -eu", *steps["restore_by_hand"]])
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60,
            check=False, env={"PATH": "/usr/bin:/bin", "no_proxy": "*", "TARGET": empty.url},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert '"count":40' in done.stdout.replace(" ", "")
        alias = httpx.get(f"{empty.url}/aliases", trust_env=False).json()["result"]["aliases"]
        assert alias == []  # moving it is a person's word: the last line, behind a `#`
        assert "live movies" in steps["restore_by_hand"][-1]


def test_wrong_names_are_usage_errors(world: World, qdr: Any) -> None:
    for words in (
        ["backup", "nothing"],
        ["backup", "-r", "three"],
        ["verify", "movies"],
        ["verify", "--sample", "5"],
        ["verify", "--sample", "100%"],
        ["verify", "--seed", "5"],
        ["verify", "--not-proven-since", "5"],
        ["drill", "--scratch", "http://127.0.0.1:1", "--engine", "edge"],
        ["report", "--as-of", "yesterday"],
        ["report", "--as-of", "2026-11-22T10:00:00"],
        ["report", "--format", "pdf"],
        ["report", "--period", "30"],
        ["list", "-r", "three"],
    ):
        said = qdr(*words, "-c", world.reference, "--json")
        assert said.code == 2, words
        assert said.json["errors"][0]["hint"]


def test_a_node_of_the_cluster_is_never_a_scratch(world: World, source: Server, qdr: Any) -> None:
    said = qdr("drill", "--scratch", source.url, "-c", world.reference)
    assert said.code == 2
    assert "cannot be a scratch" in said.err


def test_an_unreachable_cluster_is_5_and_still_a_record(
    world: World, qdr: Any, tmp_path: Path, source: Server
) -> None:
    away = tmp_path / "away.yaml"
    away.write_text(world.file.read_text().replace(source.url, "http://127.0.0.1:1"))
    said = qdr("backup", "-c", away, "--json")
    assert said.code == 5
    assert said.json["errors"][0]["code"] == "node-unreachable"
    last = world.ends("two")[-1]
    assert (last.start.run_id, last.verdict) == (said.json["run_id"], "failed")


PLACES = [
    ({"url": "s3://acme/dr x"}, "aws s3 cp 's3://acme/dr x/backups/prod/movies-"),
    (
        {"url": "s3://acme/dr", "options": {"endpoint_url": "https://minio:9000"}},
        "aws s3 cp --endpoint-url https://minio:9000 s3://acme/dr/backups/",
    ),
    ({"url": "gs://acme/dr"}, "gcloud storage cp gs://acme/dr/backups/prod/movies-"),
    (
        {"url": "abfs://acme/dr", "options": {"account_name": "acct"}},
        "az storage blob download --account-name acct --container-name acme --name dr/backups/",
    ),
    ({"url": "/mnt/d r"}, "cp '/mnt/d r/backups/prod/movies-"),
]


def placed(**place: Any) -> Config:
    known = config("aws", "gcp")
    body = known.model_dump(mode="json")
    body["repositories"][0] |= place
    body["cluster"]["api_key"] = "env:KEY"
    return Config.model_validate(body)


@pytest.mark.parametrize(("place", "command"), PLACES, ids=[p["url"] for p, _ in PLACES])
def test_every_provider_has_its_command(place: dict[str, Any], command: str) -> None:
    made = manifest("movies")
    (backup,) = catalog({"aws": [made]}).backups
    lines = by_hand(placed(**place), backup)
    assert any(line.startswith(command) for line in lines), lines
    path = layout.in_backup(made.key, made.parts[0].file)
    assert any(path in line for line in lines)
    assert f"echo {made.parts[0].sha256}  collection.snapshot | sha256sum --check" in lines
    assert any("priority=snapshot&checksum=" in line for line in lines)
    assert sum('-H "api-key: $QDRANT_API_KEY"' in line for line in lines) >= 3


def test_a_backup_without_a_whole_copy_says_so() -> None:
    made = manifest("movies")
    gone = catalog({"aws": [made]}).backups[0]
    copies = tuple(c.__class__("aws", c.domain, "missing", ("manifest",)) for c in gone.copies)
    broken = gone.__class__(gone.manifest, None, copies)
    assert by_hand(config("aws", "gcp"), broken) == [
        "# no copy is whole; next: run `qdrant-dr backup movies`."
    ]


def test_a_copied_repository_is_adopted_and_proves_itself(
    source: Server, qdr: Any, tmp_path: Path
) -> None:
    made = make_world(
        tmp_path, source.url, repositories=("one",),
        collections={"include": ["users"]}, copies={"quorum": 1, "domains": 1},
    )  # fmt: skip

    def run(*words: str) -> Any:
        return qdr(*words, "-c", made.reference, "--json")

    def copies() -> dict[str, Any]:
        (facts,) = run("show", "users@latest", "--proofs").json["rows"]
        return {c["repository"]: c for c in facts["copies"]} | {"proofs": facts["proofs"]}

    assert run("backup").code == 0
    assert run("hold", "users@latest", "--reason", "case 4711").code == 0
    shutil.copytree(made.folders["one"], tmp_path / "mirror")
    body = yaml.safe_load(made.file.read_text())
    body["repositories"].append(
        {"name": "mirror", "url": (tmp_path / "mirror").as_uri(), "domain": "elsewhere"}
    )
    body["copies"] = {"quorum": 2, "domains": 2}
    made.file.write_text(yaml.safe_dump(body, sort_keys=False))
    assert run("repository", "list").json["rows"][1]["state"] == "repository-mismatch"

    (row,) = run("repository", "adopt", "mirror", "--execute", "--save").json["rows"]
    assert (row["was"], row["backups"]) == (body["repositories"][0]["id"], 1)
    assert run("repository", "list").code == 0
    seen = copies()
    assert (seen["one"]["depth"], seen["mirror"]["depth"]) == ("content", None)
    inherited = [p for p in seen["proofs"] if p["repository"] == "mirror (inherited)"]
    assert len(inherited) == len([p for p in seen["proofs"] if p["repository"] == "one"]) > 0
    assert seen["mirror"]["state"] == "present"

    assert run("verify", "-r", "mirror", "--depth", "content").code == 0
    assert copies()["mirror"]["depth"] == "content"
    assert run("list").json["rows"][0]["copies"] == 2
    shutil.rmtree(made.folders["one"] / "holds")
    assert [h["reason"] for h in run("hold").json["rows"]] == ["case 4711"]
    assert run("backup").code == 0, "and it takes part"
