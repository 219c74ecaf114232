"""A wheel built from the checkout holds the built-in model and runs its demo on the core dependencies alone.

The wheel goes into a fresh environment that sees, through links, just those distributions which the wheel's
own metadata asks for: a dependency missing from `pyproject.toml` fails here, and nothing is downloaded again.
"""

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
BUILTIN = "polyturn/hub/builtin"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.glob("polyturn-*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and links to its dependencies, as `pip install` would leave it."""
    venv = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    pip("--python", str(venv / "bin/python"), "install", "--no-index", "--no-deps", str(wheel))
    (site_packages,) = venv.glob("lib/python3.*/site-packages")
    for top in top_level_files(dependencies_of(wheel)):
        (site_packages / top.name).symlink_to(top)
    return venv


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def dependencies_of(wheel: Path) -> set[str]:
    """The names of all distributions that installing `wheel` without extras asks for, direct and indirect."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = importlib.metadata.PathDistribution(zipfile.Path(archive, str(Path(name).parent) + "/"))
        pending = [(line, "") for line in metadata.requires or []]
    seen: set[tuple[str, str]] = set()
    while pending:
        line, extra = pending.pop()
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in {(requirement.name, each) for each in ("", *requirement.extras)} - seen:
            seen.add(wanted)
            name, extra = wanted
            pending += [(line, extra) for line in importlib.metadata.requires(name) or []]
    return {name for name, _ in seen}


def top_level_files(distributions: set[str]) -> set[Path]:
    """The files and folders of `distributions` that lie directly in the site-packages of this environment."""
    tops: set[Path] = set()
    for name in distributions:
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or []:
            if file.parts[0] not in ("..", "__pycache__"):
                tops.add(Path(str(distribution.locate_file(file.parts[0]))))
    return tops


def run_in(environment: Path, tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment elsewhere, with none of the settings that tests run JAX under."""
    settings = ("JAX_", "XLA_", "PYTHON")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    program, *arguments = command
    return subprocess.run(
        [str(environment / "bin" / program), *arguments],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_wheel_holds_every_file_of_the_package(wheel: Path):
    package = ROOT / "src" / "polyturn"
    expected = {
        f"polyturn/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        assert expected <= set(archive.namelist())


def test_wheel_holds_a_built_in_model(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if name.startswith(BUILTIN)}
    folders = {str(Path(name).parent) for name in files if name.endswith("/config.json")}
    assert folders, f"no model folder below {BUILTIN}"
    for folder in folders:
        assert {f"{folder}/model.safetensors", f"{folder}/tokenizer.json"} <= files


def test_demo_runs_from_the_wheel_alone(environment: Path, tmp_path: Path):
    where = run_in(environment, tmp_path, "python", "-c", "import polyturn; print(polyturn.__path__[0])")
    assert where.stdout.startswith(str(environment)), where.stdout + where.stderr
    demo = run_in(environment, tmp_path, "polyturn", "demo")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.strip()
    assert list(tmp_path.iterdir()) == []
