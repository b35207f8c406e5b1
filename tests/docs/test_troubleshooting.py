"""Every command of the pages is one, every path is of the API, and what only reads runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlsplit

import httpx
import pytest

from qdrant_dr.cli import main
from qdrant_dr.cli.app import build
from qdrant_dr.sandbox.routes import collections, points, service, snapshots
from tests.support.documented import DOCS, Block, blocks
from tests.support.servers import Server, sandbox_server
from tests.support.transcripts import TRANSCRIPTS, load
from tests.support.world import World, make_world, seed

PAGES = ("troubleshooting", "runbook", "listener-nodes")
COMMANDS = [
    pytest.param(block, line, id=f"{page}: {line[:70]}")
    for page in PAGES
    for block in blocks(page)
    for line in block.lines
    if line.startswith(("qdrant-dr ", "curl "))
]
READ_ONLY = {"check", "list", "show"}
REAL_ONLY = {("POST", "/collections/x/cluster"), ("DELETE", "/cluster/peer/x")}
"""Changes of a cluster, which no transcript and no sandbox has."""


def words(line: str) -> list[str]:
    """The words of a line, as a shell would split them; variables stay."""
    return [w for w in shlex.split(line) if w not in {">", "|"}]


@pytest.mark.parametrize(("block", "line"), [c for c in COMMANDS if "qdrant-dr" in c.values[1][:9]])
def test_our_commands_parse(block: Block, line: str) -> None:
    assert block.page
    tokens = [re.sub(r"\$(\w+|\{.*?\})", "x", w) for w in words(line)[1:]]
    while tokens[0].startswith("-"):  # of the program, not of its command
        tokens = tokens[2 if tokens[0] in {"-c", "--config"} else 1 :]
    command, bound, extra = build().parse_args(tokens, exit_on_error=False, print_error=False)
    assert callable(command)
    assert set(extra) <= {"session"}
    assert bound is not None


@cache
def known_paths() -> set[tuple[str, str]]:
    """Method and path of every call of the sandbox and of the real server's conversations."""
    routes = {
        (method, shape(re.sub(r"\{[^}]*\}", "x", route.path)))
        for module in (collections, points, service, snapshots)
        for route in module.router.routes
        for method in route.methods
    }
    said = {
        (step["request"]["method"], shape(step["request"]["path"]))
        for file in TRANSCRIPTS.glob("*.json")
        for step in load(file.stem)
        if step["response"]["status"] < 400
    }
    return routes | said


def shape(path: str) -> str:
    """A path with `x` for every name and number in it."""
    parts = urlsplit(path).path.strip("/").split("/")
    fixed = {
        "collections", "snapshots", "shards", "points", "count", "scroll", "cluster", "aliases",
        "optimizations", "readyz", "upload", "recover", "snapshot", "partial", "manifest", "index",
        "peer", "telemetry", "healthz", "exists", "delete", "payload", "query", "memory",
    }  # fmt: skip
    return "/" + "/".join(p if p in fixed else "x" for p in parts)


@pytest.mark.parametrize(("block", "line"), [c for c in COMMANDS if c.values[1].startswith("curl")])
def test_paths_are_of_the_api(block: Block, line: str) -> None:
    method, url = call_of(line)
    path = re.sub(r"^\$\w+", "", url)
    assert "--fail-with-body" in line, "without it an error looks like a success"
    known = known_paths() | (REAL_ONLY if block.kind == "real" else set())
    assert (method, shape(path)) in known


def call_of(line: str) -> tuple[str, str]:
    split = words(line)
    method = split[split.index("-X") + 1] if "-X" in split else "GET"
    (url,) = (w for w in split if w.startswith(("$NODE", "$TARGET")))
    return method, url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sandbox_server(tmp_path_factory.mktemp("node")) as server:
        seed(server.url, "movies", points=60)
        yield server


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"), server.url)
    assert main(["-q", "-c", world.reference, "backup"]) == 0
    return world


def is_read_only(line: str) -> bool:
    verb = words(line)[1]
    plan = verb == "restore" and "--execute" not in line
    return verb in READ_ONLY or plan or "--dry-run" in line or "repository list" in line


OURS = sorted({
    c.values[1] for c in COMMANDS
    if c.values[0].page == "troubleshooting"
    and c.values[1].startswith("qdrant-dr") and is_read_only(c.values[1])
})  # fmt: skip


@pytest.mark.parametrize("line", OURS)
def test_what_only_reads_runs(
    line: str, world: World, server: Server, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """0 done, 3 degraded, 4 refused with reasons: never a wrong word, never a crash."""
    monkeypatch.setenv("QDRANT_DR_CONFIG", world.reference)
    before = httpx.get(f"{server.url}/collections", trust_env=False).json()["result"]
    code = main([w.replace("$TARGET", server.url) for w in words(line)[1:]])
    said = capsys.readouterr()
    assert code in {0, 3, 4}, said.err
    if code == 4:
        assert "restore" in line
        assert "HINT" in said.err or "refused" in said.out + said.err
    assert httpx.get(f"{server.url}/collections", trust_env=False).json()["result"] == before


CURLS = sorted({
    c.values[1] for c in COMMANDS
    if c.values[0].page == "troubleshooting" and c.values[1].startswith("curl")
    and "-X DELETE" not in c.values[1] and c.values[0].kind != "real"
})  # fmt: skip


@pytest.mark.parametrize("line", CURLS)
def test_what_only_asks_is_answered(line: str, server: Server) -> None:
    made = httpx.post(f"{server.url}/collections/movies/snapshots", trust_env=False).json()
    method, url = call_of(line)
    url = url.replace("$NODE", server.url).replace("$TARGET", server.url)
    url = url.replace("$NAME", "movies").replace("$SNAPSHOT", made["result"]["name"])
    body = {"exact": True} if method == "POST" else None
    assert httpx.request(method, url, json=body, trust_env=False).status_code == 200


def test_every_entry_says_why_what_is_affected_and_what_next() -> None:
    text = (DOCS / "troubleshooting.md").read_text()
    entries = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(entries) >= 50
    for entry in entries:
        title = entry.splitlines()[0]
        for word in ("**Why.**", "**Affected:**", "**Next:**", "```sh"):
            assert word in entry, f"{title}: no {word}"


@pytest.mark.parametrize("page", ["troubleshooting", "runbook", "listener-nodes"])
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    anchors = {anchor(t) for t in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, fragment = target.partition("#")
        if path.startswith("http"):
            continue
        assert not path or (DOCS / path).exists(), target
        if not path:
            assert fragment in anchors, target


def anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
