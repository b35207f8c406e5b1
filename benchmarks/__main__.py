"""All benchmarks in turn, then their ratios again: `make bench`."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "fanout",
    "vault",
    "nights",
    "memory",
    "memory_of_content",
    "readback",
    "diff",
    "export",
    "read_rates",
    "restore",
    "restore_points",
    "recover_url",
    "reframe",
    "cover",
    "orchestration",
    "detection",
    "catalog",
    "status",
    "looks",
    "requests",
)


def main() -> None:
    """Run each in a process of its own; one that fails is in the summary, and in the exit code."""
    summary: list[str] = []
    failed = False
    for name in NAMES:
        print(f"== {name}", flush=True)
        ratios, code = _run(name)
        summary += ratios
        if code:
            failed = True
            summary.append(f"{name}: FAILED with exit code {code}: it measured nothing")
    print("== summary")
    print("\n".join(summary))
    sys.exit(failed)


def _run(name: str) -> tuple[list[str], int]:
    """Pass on what it prints, and keep its lines that begin with its name."""
    command = [sys.executable, "-u", "-m", f"benchmarks.{name}"]
    ratios, called = [], name.replace("_", "-")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", flush=True)
            if "ratio" in line or line.startswith((f"{called}:", "  caught")):
                text = line.strip()
                ratios.append(text if text.startswith(called) else f"{called}: {text}")
    return ratios, child.returncode


if __name__ == "__main__":
    main()
