"""A log line for machines: one object, what it is about, and no secret."""

from __future__ import annotations

import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from qdrant_dr.errors import UsageError
from qdrant_dr.jobs.run.units import CaptureUnit, VerifyUnit
from qdrant_dr.json_lines import VARIABLE, JsonLines, log_format
from qdrant_dr.log_context import facts, run_context, unit_context
from tests.support import records as r

MANIFEST = r.manifest()
VERIFY = VerifyUnit(key=MANIFEST.key, repository="aws", depth="bytes")
CAPTURE = CaptureUnit(
    collection="movies", nodes=("http://node:6333",), repositories=("aws", "gcp"),
    method="shard", method_reason="why",
)  # fmt: skip
SECRET = "hunter2-and-more"


def written(message: str, *, name: str = "qdrant_dr.x", error: Any = None, **extra: Any) -> Any:
    record = logging.LogRecord(name, logging.WARNING, "file.py", 1, message, (), error)
    record.__dict__.update(extra)
    line = JsonLines().format(record)
    assert "\n" not in line
    return json.loads(line)


def test_a_line_has_a_time_a_level_and_its_words() -> None:
    said = written("two\nlines \x1b[31m \u202e", event="unit-began")
    assert said.pop("time").endswith("Z")
    assert said == {
        "level": "warning",
        "logger": "qdrant_dr.x",
        "message": "two\nlines \x1b[31m \u202e",
        "event": "unit-began",
    }


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://u:p@{SECRET}@host/x?X-Amz-Signature={SECRET}&z=1",
        f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}==;",
        f"SharedAccessSignature=sv=2020&sig={SECRET}",
    ],
)
def test_no_field_holds_what_opens_a_store(text: str) -> None:
    assert SECRET not in json.dumps(written(text, hint=text, code=text))


def test_it_says_what_its_thread_works_for() -> None:
    with unit_context("run-1", VERIFY):
        said = written("hello")
        with ThreadPoolExecutor(1) as pool:
            copied = pool.submit(copy_context().run, written, "hello").result()
    assert said["run_id"] == "run-1"
    assert said["unit"] == "verify"
    assert (said["collection"], said["repository"]) == ("movies", "aws")
    assert said["backup"] == f"movies@{MANIFEST.backup_id}"
    assert {k: v for k, v in copied.items() if k != "time"} == {
        k: v for k, v in said.items() if k != "time"
    }
    with unit_context("run-1", CAPTURE):
        assert written("hello")["repositories"] == ["aws", "gcp"]
    assert facts() == {}


def test_a_unit_within_a_run_and_what_a_record_says_itself() -> None:
    with run_context("run-1"):
        with unit_context("run-2", VERIFY):
            assert written("hello")["run_id"] == "run-2"
        assert "unit" not in written("hello")
        assert written("hello")["run_id"] == "run-1"
        assert written("hello", run_id="run-3")["run_id"] == "run-3"


@pytest.mark.parametrize(
    "message",
    [
        f"GET https://bucket.example.com/key?X-Amz-Signature={SECRET}&a=b 403",
        f"no answer from http://user:{SECRET}@node:6333/x",
        f"'https://account.blob/c?sig={SECRET}'",
    ],
)
@pytest.mark.parametrize("name", ["qdrant_dr.x", "botocore.auth"])
def test_no_signature_and_no_password_of_a_url(message: str, name: str) -> None:
    assert SECRET not in json.dumps(written(message, name=name))


def test_a_traceback_of_ours_is_written_and_that_of_a_library_is_not() -> None:
    try:
        int(f"https://x/?sig={SECRET}")
    except ValueError:
        error = sys.exc_info()
    theirs = written("failed", name="aiohttp.client", error=error)
    assert theirs["error"] == "ValueError"
    assert SECRET not in json.dumps(theirs)
    ours = written("failed", error=error)
    assert "test_json_lines" in ours["traceback"]
    assert SECRET not in json.dumps(ours)


def test_a_word_that_is_no_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "xml")
    with pytest.raises(UsageError, match="QDR_LOG is none of text, json"):
        log_format()
    for word, form in (("", "text"), ("text", "text"), ("json", "json")):
        monkeypatch.setenv(VARIABLE, word)
        assert log_format() == form
