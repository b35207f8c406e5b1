"""The units of systemd: it takes them, they run what exists, at the times of `prefect.yaml`."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr.cli.app import build
from qdrant_dr.cli.commands import COMMANDS
from qdrant_dr.configfile import VARIABLE
from qdrant_dr.json_lines import VARIABLE as LOG
from tests.support.samples import ROOT

FOLDER = ROOT / "deployments" / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
TIMERS = sorted(FOLDER.glob("*.timer"))
UNITS = [*SERVICES, *TIMERS]
BIN = "/opt/qdrant-dr/bin"
NO_VERB = {"metrics"}
"""Timers of no verb that Prefect runs."""
PYTHON = Path(sys.executable).parent


def entries(unit: Path) -> list[tuple[str, str, str]]:
    """Section, key and value of each line."""
    section, found = "", []
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.append((section, key, value))
    return found


def said(unit: Path, key: str) -> list[str]:
    return [value for _, name, value in entries(unit) if name == key]


def calendar(timer: Path) -> str:
    (when,) = said(timer, "OnCalendar")
    return when


def services_of_timers() -> Iterator[tuple[Path, Path, str]]:
    """Each timer with the file of its service, and the name of its instance."""
    for timer in TIMERS:
        (service,) = said(timer, "Unit")
        name, at, instance = service.removesuffix(".service").partition("@")
        yield timer, FOLDER / f"{name}{at}.service", instance


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    """With commands that are here, and each template as the instance that a timer starts."""
    names = []
    for unit in UNITS:
        text = unit.read_text().replace(BIN, str(PYTHON))
        for name in [unit.name] if "@." not in unit.name else ["qdrant-dr@backup.service"]:
            (tmp_path / name).write_text(text)
            names.append(str(tmp_path / name))
    (tmp_path / "qdrant-dr@.service").write_text(
        (FOLDER / "qdrant-dr@.service").read_text().replace(BIN, str(PYTHON))
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        capture_output=True, text=True, timeout=60, check=False,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "qdrant-dr" in line]
    assert (ours, done.returncode) == ([], 0), done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
@pytest.mark.parametrize("timer", TIMERS, ids=lambda t: t.stem)
def test_systemd_knows_the_next_time_of_each_timer(timer: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "calendar", calendar(timer)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "Next elapse" in done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
def test_a_unit_has_the_sections_of_its_kind(unit: Path) -> None:
    sections = {section for section, _, _ in entries(unit)}
    kind = unit.suffix.removeprefix(".").title()
    assert {"Unit", kind} <= sections <= {"Unit", kind, "Install"}
    assert all(key and value for _, key, value in entries(unit))


@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.name)
def test_no_service_runs_as_root_or_loses_its_spool(service: Path) -> None:
    assert said(service, "User") == ["qdrant-dr"]
    assert said(service, "NoNewPrivileges") == ["true"]
    assert not said(service, "PrivateTmp")


@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.name)
def test_a_service_runs_a_command_that_exists(service: Path) -> None:
    (line,) = said(service, "ExecStart")
    program, *words = shlex.split(line)
    assert program.startswith(f"{BIN}/")
    assert (PYTHON / Path(program).name).exists()
    if program.endswith("/qdrant-dr") and "%i" not in words:
        command, bound, _ = build().parse_args(words, exit_on_error=False, print_error=False)
        assert callable(command)
        assert bound is not None


def test_every_timer_starts_a_service_and_a_verb_that_exist() -> None:
    for timer, service, instance in services_of_timers():
        assert service.exists(), timer.name
        if instance:
            assert instance in COMMANDS
            assert timer.stem == f"qdrant-dr-{instance}"


def test_environment_has_names_that_we_read() -> None:
    for service in SERVICES:
        pairs = [p.split("=")[0] for value in said(service, "Environment") for p in value.split()]
        assert set(pairs) <= {VARIABLE, LOG, "XDG_CACHE_HOME", "QDR_WORK_POOL"}


def moments(cron: str) -> str:
    """A cron expression of `prefect.yaml` as systemd writes it."""
    minute, hour, _, _, day = cron.split()
    days = {"6": "Sat ", "0": "Sun ", "1": "Mon ", "*": ""}[day]
    step = re.fullmatch(r"\*/(\d+)", minute)
    minutes = f"00/{step[1]}:00" if step else f"{int(minute):02}:00"
    return f"{days}*-*-* {hour if hour == '*' else f'{int(hour):02}'}:{minutes} UTC"


def test_verbs_run_when_they_run_on_prefect() -> None:
    deployments: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())[
        "deployments"
    ]
    on_prefect = {}
    for one in deployments:
        verb = re.split(r"[.:]", one["entrypoint"])[-1]  # after a module or a file
        for schedule in one.get("schedules") or ():
            on_prefect[verb] = moments(schedule["cron"])
    ours = {t.stem.removeprefix("qdrant-dr-"): calendar(t) for t in TIMERS}
    assert {verb: ours[verb] for verb in ours.keys() - NO_VERB} == on_prefect


README = (FOLDER / "README.md").read_text()
ARGUMENTS = re.findall(
    r"^echo 'ARGUMENTS=([^']*)' \| sudo tee /etc/qdrant-dr/(\w+)\.env", README, re.MULTILINE
)


@pytest.mark.parametrize(("arguments", "verb"), ARGUMENTS)
def test_the_arguments_of_the_page_are_options_of_the_verb(arguments: str, verb: str) -> None:
    words = [verb, *shlex.split(arguments)]
    command, bound, _ = build().parse_args(words, exit_on_error=False, print_error=False)
    assert callable(command)
    assert bound is not None


def test_the_page_enables_every_timer_and_has_arguments() -> None:
    (enabled,) = re.findall(r"qdrant-dr-\{([\w,]+)\}\.timer", README)
    assert sorted(f"qdrant-dr-{name}.timer" for name in enabled.split(",")) == [
        t.name for t in TIMERS
    ]
    assert {verb for _, verb in ARGUMENTS} == {"verify", "check", "expire", "watch"}
