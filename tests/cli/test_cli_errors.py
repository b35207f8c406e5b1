"""Wrong words, wrong files, interrupts: the exit code, the envelope, and streams kept apart."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdrant_dr.cli.logs import logs
from qdrant_dr.cli.output import any_text, envelope, printable, write
from qdrant_dr.cli.session import Column, Reply, Session
from qdrant_dr.cli.tables import table

ROOT = Path(__file__).parents[2]
COLLECTION = Column("collection", "COLLECTION")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bakup"], "backup"),
        (["backup", "--metod", "auto"], "--metod"),
        (["backup", "--method", "magic"], "magic"),
        (["schema"], "WHAT"),
        (["schema", "manifets"], "manifest"),
        (["show"], "BACKUP"),
        (["verify", "--seed", "x"], "x"),
        (["-c"], "-c needs a value"),
        (["backup", "-c"], "-c needs a value"),
        (["restore", "movies@latest"], "--to is missing"),
        (["restore", "--to"], "--to needs a value"),
        (["show"], "BACKUP is missing"),
        (["show", "a", "b"], "unexpected argument 'b'"),
        (["drill", "--seed", "x"], "--seed must be a whole number, not 'x'"),
        (["sandbox", "--port", "x"], "--port must be a whole number"),
        (
            ["restore", "m@latest", "--to", "http://x", "--parallel", "0"],
            "--parallel: must be 1 or",
        ),
        (["restore", "m@latest", "--to", "http://x", "--bandwidth", "5"], "'5' is not a size"),
        (["restore", "m@latest", "--to", "http://x", "--to-key", "k3y"], "--to-key: must be a ref"),
    ],
)
def test_wrong_words_are_usage_errors(words: list[str], said: str, qdr: Any) -> None:
    plain, machine = qdr(*words), qdr(*words, "--json")
    assert (plain.code, machine.code) == (2, 2)
    assert plain.out == ""
    assert plain.err.startswith("error: ")
    assert said in plain.err
    assert "HINT: " in plain.err
    assert not re.search(r"\b(int|str|float|bool|[Tt]okens?|[Ii]nput)\b", plain.err)
    assert machine.json["errors"][0]["code"] == "usage-error"
    assert machine.json["verdict"] == "failed"


@pytest.mark.parametrize(
    "words", [["check"], ["backup"], ["list"], ["repository", "list"], ["report"]]
)
def test_without_a_configuration(words: list[str], qdr: Any) -> None:
    said = qdr(*words, "--json")
    assert said.code == 2
    assert said.json["command"] == " ".join(words)
    assert said.json["errors"][0]["code"] == "config-invalid"
    assert "qdrant-dr init" in said.json["errors"][0]["hint"]


def test_a_bad_configuration_names_file_and_line(qdr: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("format: 1\nclustr: {}\n")
    said = qdr("list", "-c", "bad.yaml")
    assert said.code == 2
    assert "bad.yaml:2:1: clustr: no such key; did you mean `cluster`?" in said.err


def test_global_options_stand_anywhere(qdr: Any) -> None:
    assert qdr("--json", "init").json["command"] == "init"
    assert qdr("init", "--json").code == 2  # it exists now


def test_init_never_touches_a_file(qdr: Any, tmp_path: Path) -> None:
    first = qdr("init", "--url", "http://localhost:7000", "-c", "mine.yaml")
    assert (first.code, first.out) == (0, "wrote mine.yaml\n")
    before = (tmp_path / "mine.yaml").read_bytes()
    again = qdr("init", "-c", "mine.yaml")
    assert again.code == 2
    assert "already exists" in again.err
    assert (tmp_path / "mine.yaml").read_bytes() == before


def test_quiet_says_only_data(qdr: Any) -> None:
    said = qdr("init", "-q")
    assert said.err == ""


def test_a_defect_ends_in_an_envelope(qdr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_reference: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("qdrant_dr.configfile.find", broken)
    said = qdr("list", "--json")
    assert said.code == 1
    assert said.json["errors"][0]["message"] == "ZeroDivisionError: by zero"
    assert "Traceback" in qdr("list", "-v").err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_ends_when_it_is_told_to(number: int, tmp_path: Path) -> None:
    """It runs until then, so that is no failure; its folder goes with it."""
    with subprocess.Popen(
        [sys.executable, "-m", "qdrant_dr.cli", "sandbox", "--port", "0", "--empty"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            url = process.stdout.readline().strip()
            assert httpx.get(f"{url}/readyz", timeout=30, trust_env=False).status_code == 200
            assert [p.name for p in tmp_path.iterdir() if p.name.startswith("qdr-sandbox-")]
            process.send_signal(number)
            assert process.wait(30) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("qdr-sandbox-")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_is_130(number: int, tmp_path: Path) -> None:
    """A node that never answers: the command waits, and stops when it is asked to."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        config = tmp_path / "c.yaml"
        config.write_text(
            f"format: 1\ncluster: {{name: a, nodes: ['{url}']}}\n"
            f"repositories: [{{name: r, url: ./r, domain: d}}]\n"
        )
        with subprocess.Popen(
            [sys.executable, "-m", "qdrant_dr.cli", "check", "-c", str(config), "--read-only"],
            stderr=subprocess.PIPE, text=True, cwd=ROOT,
        ) as process:  # fmt: skip
            try:
                deaf.settimeout(30)
                connection, _ = deaf.accept()
                with connection:
                    time.sleep(0.2)
                    process.send_signal(number)
                    assert process.wait(30) == 130
            finally:
                process.kill()


def test_a_reader_that_leaves_early_is_no_error() -> None:
    code = "import sys; from qdrant_dr.cli import main; sys.exit(main(['schema', 'config']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""


def test_names_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[31mb\nc") == "a\N{REPLACEMENT CHARACTER}[31mb\N{REPLACEMENT CHARACTER}c"
    shown = table([{"name": "x\x1b]0;evil\x07"}], [Column("name", "NAME")])
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_a_table_is_aligned_and_says_what_is_absent() -> None:
    columns = [Column("a", "A"), Column("n", "N", str, right=True)]
    assert table([{"a": "xx", "n": 1}, {"a": None, "n": 100}], columns) == (
        "A     N\nxx    1\n-   100\n"
    )


def test_the_envelope_refuses_what_json_cannot_say() -> None:
    with pytest.raises(TypeError, match="object has no form in JSON"):
        envelope("x", Reply(rows=[{"a": object()}]))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_character_ends_a_command(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an output cannot show is shown as its escape, and JSON stays JSON."""
    raw, name = io.BytesIO(), "фильмы \N{GRINNING FACE}"
    with io.TextIOWrapper(raw, encoding=encoding) as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", out)
        any_text()
        reply = Reply(rows=[{"collection": name}], columns=[COLLECTION])
        write(Session(json=True), reply)
        assert json.loads(raw.getvalue().decode(encoding))["rows"] == list(reply.rows)
        write(Session(), reply)
        out.flush()
        shown = raw.getvalue().decode(encoding).splitlines()[-1]
    assert (
        shown.encode().decode("unicode_escape" if "\\" in shown else "utf-8").startswith("фильмы")
    )


def test_names_are_utf_8_whatever_the_locale_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("qdrant-dr"), "фильмы"],
        cwd=tmp_path, capture_output=True, check=False,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert "фильмы".encode("ascii", "backslashreplace") in done.stderr


def test_libraries_speak_through_our_log_and_show_no_query(
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs = logging.getLogger("botocore.parsers")
    before = logging.getLogger("botocore").level, logging.getLogger("botocore").propagate
    with logs(verbose=False):
        theirs.error("https://b/o?X-Amz-Signature=secret")
    assert capsys.readouterr().err == ""
    with logs(verbose=True):
        theirs.warning("again: https://b/o?X-Amz-Signature=secret now\x1b[2J")
        theirs.debug("headers: secret")
    said = capsys.readouterr().err
    assert (
        said == "WARNING botocore.parsers: again: https://b/o?... now\N{REPLACEMENT CHARACTER}[2J\n"
    )
    assert before == (logging.getLogger("botocore").level, logging.getLogger("botocore").propagate)


@pytest.mark.parametrize(
    "text",
    [
        "GET https://b/o?X-Amz-Signature=secret",
        "no answer from http://user:secret@node:6333/x",
        "AccountName=a;AccountKey=secret==;",
        "SharedAccessSignature=sv=2020&sig=secret",
    ],
)
@pytest.mark.parametrize("name", ["qdrant_dr.x", "azure.core"])
def test_no_log_for_people_shows_what_opens_a_store(
    capsys: pytest.CaptureFixture[str], text: str, name: str
) -> None:
    with logs(verbose=True):
        logging.getLogger(name).warning(text)
    said = capsys.readouterr().err
    assert name in said
    assert "secret" not in said
