"""Execute the compliance notebook and write it as a page without code, the verdict first.

`python notebooks/render.py --out compliance.html`: exit 0 if compliant, 1 if there is any gap.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

NOTEBOOK = Path(__file__).with_name("compliance.ipynb")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page whatever the verdict, and print the verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("compliance.html"), help="page to write")
    out: Path = parser.parse_args(arguments).out
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    failed = execute(notebook)
    page, _ = HTMLExporter(exclude_input=True).from_notebook_node(notebook)
    out.write_text(page, encoding="utf-8")
    print(failed or "compliant")
    print(f"wrote {out}")
    return 1 if failed else 0


def execute(notebook: nbformat.NotebookNode) -> str | None:
    """Fill in the outputs, by the variables of this process and from this folder. Return why the
    notebook failed."""
    here = {"metadata": {"path": str(Path.cwd())}}
    client = NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=here)
    try:
        client.execute()
    except CellExecutionError as e:
        said = f"{e.ename}: {e.evalue}"
        for output in (o for cell in notebook.cells for o in cell.get("outputs", ())):
            if output.output_type == "error":
                output.traceback = [said]  # the trace would show the code
        return said
    return None


if __name__ == "__main__":
    sys.exit(main())
