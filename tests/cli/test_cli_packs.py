"""What commands say of chunked repositories, and that they say nothing of it without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.api import open_config
from tests.cli.conftest import Command
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.world import World, lent, make_world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two equal backups in a plain and in a chunked repository."""
    with ReplaySource(["basic"]) as source:
        world = make_world(
            tmp_path_factory.mktemp("packs"), source.url,
            repositories=("plain", "vault"), chunked=("vault",),
        )  # fmt: skip
        for _ in range(2):
            end = do(world, "backup")
            assert end.verdict == "ok", end.reasons
    return world


@pytest.fixture
def world(made: World) -> Iterator[World]:
    with lent(made) as mine:
        yield mine


def bytes_in(folder: Path, *below: str) -> int:
    return sum(f.stat().st_size for b in below for f in (folder / b).rglob("*") if f.is_file())


def test_show_says_what_a_backup_added_and_shares(world: World, qdr: Command) -> None:
    said = qdr("-c", world.file, "show", "movies@latest", "--json")
    plain, vault = said.json["rows"][0]["copies"]
    assert (plain["layout"], plain["packs"], plain["shared_bytes"]) == ("plain", None, None)
    assert (vault["layout"], vault["packs"], vault["packs_use"]) == ("chunked", 1, 1.0)
    assert vault["stored_bytes"] < plain["stored_bytes"] / 10  # it added no block
    (pack,) = world.folders["vault"].rglob("*.pack")
    assert pack.stat().st_size * 0.5 < vault["shared_bytes"] <= pack.stat().st_size
    text = qdr("-c", world.file, "show", "movies@latest")
    assert "OF OTHERS" in text.out
    assert "100 %" in text.out
    alone = qdr("-c", world.file, "show", "movies@latest", "-r", "plain")
    assert "OF OTHERS" not in alone.out


def test_repository_show_says_what_is_stored_for_how_much(world: World, qdr: Command) -> None:
    (row,) = qdr("-c", world.file, "repository", "show", "vault", "--json").json["rows"]
    there = world.folders["vault"]
    assert row["stored_bytes"] == bytes_in(there, "backups", "packs")
    assert row["packs_bytes"] == bytes_in(there, "packs")
    manifests = world.manifests("vault")
    assert row["backups_count"] == len(manifests) == 2
    (last,) = row["last_backups"]
    assert row["logical_bytes"] == 2 * last["size_bytes"]
    assert (last["collection"], last["packs"], row["packs_use"]) == ("movies", 1, 1.0)
    text = qdr("-c", world.file, "repository", "show", "vault").out
    assert "for 2 backups of" in text
    assert "The last backup of each collection" in text
    (row,) = qdr("-c", world.file, "repository", "show", "plain", "--json").json["rows"]
    assert not {"stored_bytes", "packs_bytes", "last_backups"} & row.keys()


def test_status_and_the_frames_say_it(world: World, qdr: Command) -> None:
    said = qdr("-c", world.file, "status")
    assert "vault (chunked): " in said.err
    assert "for 2 backups of" in said.err
    assert "1 pack, 100 % of those it uses" in said.err
    assert "plain (chunked)" not in said.err
    copies: Any = open_config(world.file).frames()["copies"]
    vault = copies[copies["repository"] == "vault"].sort_values("backup_id")
    assert list(vault["layout"]) == ["chunked", "chunked"]
    first, second = vault["stored_bytes"]
    assert second < first / 10
    assert list(vault["shared_bytes"].isna()) == [True, False]  # of the newest alone
    assert first + second == bytes_in(world.folders["vault"], "backups", "packs")
    metrics = qdr("-c", world.file, "status", "--format", "prometheus").out
    (line,) = (
        text for text in metrics.splitlines()
        if text.startswith("qdrant_dr_repository_stored_bytes{") and 'repository="vault"' in text
    )  # fmt: skip
    assert float(line.rpartition(" ")[2]) == first + second


def report_page(world: World, qdr: Command) -> str:
    (row,) = qdr("-c", world.file, "report", "--json").json["rows"]
    return (Path(row["folder"]) / "report.html").read_text()


def test_what_is_stored_costs_what_is_configured_in_every_layout(
    world: World, qdr: Command
) -> None:
    lines = world.file.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if "name: plain" in line)
    other = next(n for n, line in enumerate(lines) if "name: vault" in line)
    for n in sorted((at, other), reverse=True):
        indent = len(lines[n]) - len(lines[n].lstrip("- "))
        lines.insert(n + 1, " " * indent + "price_per_gib_month: 1048576")
    world.file.write_text("\n".join(lines))  # one for each KiB
    copies: Any = open_config(world.file).frames()["copies"]
    assert len(copies) == 4
    assert list(copies["monthly_cost"]) == [size / 1024 for size in copies["stored_bytes"]]
    said = qdr("-c", world.file, "status").err
    page = report_page(world, qdr)
    for name in ("plain", "vault"):
        cost = bytes_in(world.folders[name], "backups", "packs") / 1024
        assert f"{cost:.2f} a month" in next(x for x in said.splitlines() if f"{name}" in x)
        assert f"{cost:.2f} a month" in page
        (row,) = qdr("-c", world.file, "repository", "show", name, "--json").json["rows"]
        assert row["monthly_cost"] == cost
        assert f"{cost:.2f} a month" in qdr("-c", world.file, "repository", "show", name).out


def test_without_a_price_nothing_is_said_of_costs(world: World, qdr: Command) -> None:
    copies: Any = open_config(world.file).frames()["copies"]
    assert copies["monthly_cost"].isna().all()
    assert "a month" not in report_page(world, qdr)
    assert "a month" not in qdr("-c", world.file, "status").err


def test_a_vault_that_is_not_the_configured_one_says_nothing_of_packs(
    world: World, qdr: Command
) -> None:
    text = world.file.read_text()
    (found,) = qdr("-c", world.file, "repository", "show", "vault", "--json").json["rows"]
    world.file.write_text(text.replace(found["id"], "00000000"))
    said = qdr("-c", world.file, "repository", "show", "vault", "--json")
    assert said.code == 1
    assert "stored_bytes" not in said.json["rows"][0]
