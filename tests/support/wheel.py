"""The wheel as it is built, and environments that it is installed into, outside any checkout.

They share the dependencies of the tests, but for this package: it comes from the wheel alone.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("qdrant_dr", "qdrant_dr-", "_editable_impl_qdrant_dr")


def build(folder: Path) -> Path:
    """The wheel of this checkout."""
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (made,) = folder.glob("*.whl")
    return made


def names(wheel: Path) -> set[str]:
    """What it would lay into site-packages, at the top."""
    with zipfile.ZipFile(wheel) as inside:
        return {name.split("/")[0] for name in inside.namelist()}


def foreign_wheel(folder: Path, packages: Iterable[str]) -> Path:
    """A wheel of somebody else with packages of these names, each of which ends its process."""
    made = folder / "theirs-1.0-py3-none-any.whl"
    info = "theirs-1.0.dist-info"
    files = {f"{name}/__init__.py": "raise SystemExit('this is theirs')\n" for name in packages}
    files |= {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return made


@dataclass
class Installed:
    """A virtual environment of its own."""

    home: Path

    @property
    def python(self) -> Path:
        return self.home / "bin" / "python"

    def install(self, *wheels: Path) -> None:
        pip("--python", str(self.python), "install", "--no-deps", "--no-index", *map(str, wheels))

    def run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """`python ...` of it, with nothing of the checkout on its path."""
        return subprocess.run(
            [str(self.python), *arguments], cwd=cwd, capture_output=True, text=True,
            timeout=timeout, check=False, env={"PATH": f"{self.home / 'bin'}:/usr/bin:/bin",
                                               "HOME": str(self.home), **(env or {})},
        )  # fmt: skip


def environment(home: Path, *wheels: Path) -> Installed:
    """One in which these wheels are installed."""
    venv.create(home, with_pip=False, symlinks=True)
    made = Installed(home)
    shared = home / "shared"
    shared.mkdir()
    # links to each of the dependencies: files that end in .pth count in site-packages alone
    for dependency in Path(sysconfig.get_path("purelib")).iterdir():
        if not dependency.name.startswith(OURS):
            (shared / dependency.name).symlink_to(dependency)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(f"{shared}\n")
    made.install(*wheels)
    return made


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
