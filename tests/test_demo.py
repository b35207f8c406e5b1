"""`make demo` keeps its promise, for anybody, and never meets the user's Prefect."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from qdrant_dr.quantities import parse_size
from tests.support.poison import poisoned, trap
from tests.support.replay import ReplaySource

ROOT = Path(__file__).parents[1]


README = (ROOT / "README.md").read_text()
OPEN = "open until Ctrl-C"


@contextmanager
def begun(home: Path, env: dict[str, str], **settings: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.demo"],
        cwd=ROOT,
        env={**env, "DEMO_HOME": str(home), "DEMO_POINTS": "200", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.prefect
@pytest.mark.timeout(600)
def test_all_is_as_promised_and_nothing_of_the_user_is_touched(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    with trap() as (api, caught), begun(home, poisoned(tmp_path, api), KEEP="1") as process:
        assert process.stdout is not None
        said = list(until(process.stdout, OPEN))
        assert said[-1].startswith(OPEN), (said[-5:], process.communicate(timeout=60)[1])
        ui, target = re.findall(r"http://\S+?(?=,|$)", said[-1])
        assert httpx.get(f"{ui}/api/health", trust_env=False).is_success
        assert held(target) == {"movies": 98, "notes": 39, "users": 58, AGAIN: 98}
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    out = "\n".join(said)
    assert process.returncode == 0, out + errors
    assert rest == "stopped\n"
    for url in (ui, target, *re.findall(r"a small server at (\S+?),", out)):
        with pytest.raises(httpx.TransportError):
            httpx.get(url, trust_env=False)
    assert caught == []
    assert out.count("as promised") == 12  # eleven acts and the last line
    assert said[1].strip() == f"a Prefect server of its own, to watch the runs: {ui}"
    assert not (home / "source").exists()  # died, with all that it stored
    assert "in 1 pack written anew" in out
    first, second = bytes_beside(said, "aws (chunked)"), bytes_beside(said, "onprem (plain)")
    assert first[1] < first[0] < second[0]  # less again, and the first is compressed
    (page,) = (home / "report").rglob("report.html")
    assert "not a Qdrant server" in page.read_text()
    assert errors == ""
    shape = [masked(line) for line in said]
    for block in README_BLOCKS:
        printed = [masked(line) for line in block]
        assert printed[0] in shape
        begin = shape.index(printed[0])
        assert shape[begin : begin + len(printed)] == printed


AGAIN = "restored-under-another-name"
README_BLOCKS = [
    README.split(f"{heading}:\n\n```text\n")[1].split("\n```")[0].splitlines()
    for heading in ("the first", "The end of it")
]
"""What the README says that the demo prints."""


def bytes_beside(said: list[str], repository: str) -> list[int]:
    """What the first backups and the second ones wrote there."""
    (line,) = (line for line in said if line.strip().startswith(f"{repository}: "))
    return [parse_size(size.replace(" ", "")) for size in line.split(": ")[1].split(", then ")]


def until(lines: IO[str], last: str) -> Iterator[str]:
    for line in lines:
        yield line.rstrip("\n")
        if line.startswith(last):
            return


def held(url: str) -> dict[str, int]:
    with httpx.Client(base_url=url, trust_env=False) as client:
        names = [c["name"] for c in client.get("/collections").json()["result"]["collections"]]
        return {
            name: client.post(f"/collections/{name}/points/count", json={"exact": True}).json()[
                "result"
            ]["count"]
            for name in names
        }


def masked(line: str) -> str:
    """The shape of a line: what is another in every run is not looked at."""
    for pattern, mask in (
        (r"\b(aws|gcp|onprem)\b(?!/)", "PLACE"),
        (r"\S*\.demo/|/\S*/demo/(?=report|qdrant)", "HOME/"),
        (r"\bSHA256:[A-Za-z0-9+/]{43}", "KEY"),
        (r"\b\d{8}T\d{6}Z(-[0-9a-f]{6})?", "ID"),
        (r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", "HEX"),
        (r"\d[\d,.]*( (B|[KMG]iB)\b)?", "N"),
        (r" +", " "),
    ):
        line = re.sub(pattern, mask, line)
    return line


@pytest.mark.parametrize(
    ("line", "other", "equal"),
    [
        ("  drill: ok in 6.1 s (Completed)", "  drill: ok in 12.3 s (Completed)", True),
        ("  drill: ok in 6.1 s (Completed)", "  drill: failed in 6.1 s (Failed)", False),
        ("movies in aws: 1,470 points equal", "movies in gcp: 98 points equal", True),
        ("movies in aws: 1,470 points equal", "users in aws: 1,470 points equal", False),
        ("the report: .demo/report/demo/20261130T103409Z/report.html",
         "the report: /tmp/x/demo/report/demo/20261201T000000Z/report.html", True),
    ],
)  # fmt: skip
def test_the_shape_of_a_line_is_all_but_its_figures(line: str, other: str, equal: bool) -> None:
    assert (masked(line) == masked(other)) is equal


def test_a_server_that_is_too_large_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with ReplaySource(["basic"]) as source:
        source.collections["movies"].memory = {"total": {"disk_bytes": 5 * 2**30}}
        settings = {"QDRANT_URL": source.url, "DEMO_MAX": "2GiB"}
        with begun(tmp_path / "demo", dict(os.environ), **settings) as done:
            out, errors = done.communicate(timeout=100)
        assert source.snapshots("movies") == ()
        assert not any(line.startswith(("POST /collections/movies/snap", "PUT", "DELETE"))
                       for line in source.log)  # fmt: skip
    assert done.returncode == 1
    assert "the demo stops at 2.00 GiB" in errors
    assert "movies: at most 5." in out
