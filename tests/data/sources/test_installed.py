"""The running environment as a source: Python itself and the packages, with their licences, without Polyturn."""

import site
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

from polyturn.data.config import load
from polyturn.data.sources import Raw, Unit, installed, read, units


@pytest.fixture(scope="module")
def listed() -> list[Unit]:
    return list(units(load("mono")))


def test_python_itself_and_every_package(listed: list[Unit]) -> None:
    names = {unit.name for unit in listed}
    assert {"installed/stdlib", "installed/site-packages"} <= names
    by_repo = {repo: licence for unit in listed for _, repo, licence, _ in unit.files}
    assert by_repo["python/cpython"] == "PSF-2.0"
    assert by_repo["pytest"] == "MIT"
    assert by_repo["numpy"].startswith("BSD-3-Clause")
    modules = {path for unit in listed if unit.name == "installed/stdlib" for path, *_ in unit.files}
    plain = {
        f"{name}.py" for name in sys.stdlib_module_names if Path(sysconfig.get_path("stdlib"), f"{name}.py").exists()
    }
    assert plain <= modules
    assert len(plain) > 80
    assert not any("site-packages" in path for path in modules)


def test_every_file_once(listed: list[Unit]) -> None:
    places = [str(Path(unit.place, path)) for unit in listed for path, *_ in unit.files]
    assert len(places) == len(set(places))


def test_a_file_belongs_to_the_distribution_that_lists_it(listed: list[Unit]) -> None:
    repos = {path: repo for unit in listed if unit.name == "installed/site-packages" for path, repo, *_ in unit.files}
    for name in ("pytest", "numpy", "hypothesis"):
        files = [str(path) for path in metadata.files(name) or []]
        ours = [path for path in files if path in repos]
        assert ours
        assert {repos[path] for path in ours} == {name}


def test_polyturn_is_left_out_however_it_was_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: str, text: str = "x = 1\n") -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    for name, files in {"polyturn": ["polyturn/a.py", "_polyturn.pth"], "other": ["other/a.py"]}.items():
        info = f"{name}-1.dist-info"
        for file in files:
            write(file)
        write(f"{info}/METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: 1\nLicense-Expression: MIT\n\n")
        write(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/METADATA", f"{info}/RECORD"]))
    write("unlisted/a.py")
    write("unlisted/LICENSE", "SPDX-License-Identifier: ISC\n")
    write("other/vendored/deep/b.py")
    write("other/vendored/LICENSE", "SPDX-License-Identifier: GPL-2.0-only\n")
    write("single.py")
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path), str(tmp_path)])
    found = [each for unit in installed.units(0, "i") if unit.name == "i/site-packages" for each in unit.files]
    assert [each[:3] for each in found if each[0].endswith(".py")] == [
        ["single.py", "", ""],
        ["other/a.py", "other", "MIT"],
        ["other/vendored/deep/b.py", "other", "GPL-2.0-only"],
        ["unlisted/a.py", "unlisted", "ISC"],
    ]
    assert not any("polyturn" in path for path, *_ in found)


def test_what_is_read_is_python(listed: list[Unit]) -> None:
    config = load("mono")
    raws = [each for each in read(config, listed[0]) if isinstance(each, Raw)]
    assert len(raws) > 100
    assert {raw.language for raw in raws} == {"Python"}
    sample = next(raw for raw in raws if raw.path == "ast.py")
    assert sample.data == Path(sysconfig.get_path("stdlib"), "ast.py").read_bytes()
