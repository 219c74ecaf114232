"""What importing a room may bring in: `polyturn --help`, grading and remote endpoints never pay for JAX.

Each case imports in a fresh process and looks at what was loaded. The import contracts of pyproject.toml keep
the floors; they cannot tell an import at the top of a module from one inside a function, which counts here.
"""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "polyturn"

# Rooms and modules that load no JAX. A room's own modules count too, down to the last.
ROOMS_WITHOUT_JAX = ["analysis", "bench", "curriculum", "data", "hub", "sandbox", "synthesis", "tokenizer", "utils"]
MODULES_WITHOUT_JAX = ["", "cli.main", "cli.plan", "model.config", "recipes.codegen", "train.config", "train.flops"]


def modules_of(room: str) -> list[str]:
    """The names, within the package, of a room and of every module in it."""
    inside = pkgutil.walk_packages([str(PACKAGE / room)], prefix=f"{room}.")
    return [room] + [found.name for found in inside if not found.name.endswith("__main__")]


def exists(module: str) -> bool:
    path = PACKAGE.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def loaded_by(modules: list[str]) -> set[str]:
    """The top-level names in sys.modules once a fresh process has imported `modules`."""
    lines = [f"import {f'polyturn.{module}'.rstrip('.')}" for module in modules]
    code = "; ".join([*lines, "import sys", "print(*{name.partition('.')[0] for name in sys.modules})"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("room", [room for room in ROOMS_WITHOUT_JAX if exists(room)])
def test_room_imports_without_jax(room: str):
    assert not loaded_by(modules_of(room)) & {"jax", "jaxlib"}


@pytest.mark.parametrize("module", [module for module in MODULES_WITHOUT_JAX if exists(module)])
def test_module_imports_without_jax(module: str):
    assert not loaded_by([module]) & {"jax", "jaxlib"}


def test_sandbox_imports_nothing_but_the_standard_library():
    own = {"polyturn", "__main__"}
    at_start = loaded_by([])  # by the interpreter itself and by site hooks
    assert loaded_by(modules_of("sandbox")) - at_start - own <= sys.stdlib_module_names
