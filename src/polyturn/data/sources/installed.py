"""The running Python environment: the standard library, the C headers of Python, and the installed packages.

A corpus that every machine has. Its repositories are the distributions, known by the list of files that each of them
keeps; Polyturn itself is left out. A folder within one that has a licence of its own is under that.
"""

import platform
import site
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from os.path import isdir, realpath, relpath
from typing import Any

from polyturn.data import licences
from polyturn.data.sources.folder import Folder, Listed, Repo, grouped, licence_in, walk
from polyturn.data.sources.types import Unit

PYTHON = Repo("python/cpython", "PSF-2.0")
OWN = "polyturn"


def units(source: int, name: str) -> Iterator[Unit]:
    """The units of the running environment."""
    packages = _places()
    for label, path in (("stdlib", realpath(sysconfig.get_path("stdlib"))), ("include", _headers())):
        if isdir(path):
            yield from grouped(source, f"{name}/{label}", path, _python(path, packages))
    for number, path in enumerate(packages):
        label = f"site-packages-{number}" if number else "site-packages"
        yield from grouped(source, f"{name}/{label}", path, _packages(path))


def versions() -> dict[str, Any]:
    """Which Python this is, and the packages that `units` reads, by name."""
    found = metadata.distributions(path=_places())
    packages = {_name(each): each.version for each in sorted(found, key=_name, reverse=True)}
    return {
        "python": platform.python_version(),
        "packages": {name: packages[name] for name in sorted(packages) if name != OWN},
    }


def _places() -> list[str]:
    return [path for path in dict.fromkeys(map(realpath, site.getsitepackages())) if isdir(path)]


def _name(distribution: metadata.Distribution) -> str:
    return (distribution.metadata["Name"] or "").lower().replace("_", "-")


def _headers() -> str:
    return realpath(sysconfig.get_path("include"))


def _python(root: str, packages: list[str]) -> Iterator[Listed]:
    """Files of Python itself; folders of packages may lie within and are read for themselves."""
    others = {relpath(path, root) for path in packages} | {"site-packages", "dist-packages"}
    within: dict[str, str] = {}
    for folder in walk(root, leave_out=others):
        licence = _within(within, root, folder) if folder.inside else ""
        for name, found in folder.entries:
            yield folder.inside + name, found, replace(PYTHON, licence=licence) if licence else PYTHON


def _packages(root: str) -> Iterator[Listed]:
    """Files of packages with the distribution they came in, or where no list names them the first folder level."""
    owners, repos = _distributions(root)
    left_out = {path.partition("/")[0] for path, owner in owners.items() if owner == OWN} | {OWN}
    within: dict[str, str] = {}
    for folder in walk(root, leave_out=left_out):
        top = folder.inside.partition("/")[0]
        licence = _within(within, root, folder) if top and not top.endswith("-info") else ""
        for name, found in folder.entries:
            path = folder.inside + name
            owner = owners.get(path)
            if owner != OWN:
                repo = repos[owner] if owner else repos.get(top, Repo(top, ""))
                yield path, found, replace(repo, licence=licence) if licence else repo


def _within(within: dict[str, str], root: str, folder: Folder) -> str:
    """The licence that a folder or the nearest one above it, the root aside, says of its own; kept in `within`."""
    above = folder.inside.removesuffix("/").rpartition("/")[0]
    own = licence_in(root, [folder.inside + name for name, _ in folder.entries])
    within[folder.inside] = own or within.get(f"{above}/", "")
    return within[folder.inside]


def _distributions(root: str) -> tuple[dict[str, str], dict[str, Repo]]:
    """The distribution of each listed file, and each distribution."""
    owners: dict[str, str] = {}
    repos: dict[str, Repo] = {}
    for distribution in sorted(metadata.distributions(path=[root]), key=_name):
        owner = _name(distribution)
        listed = sorted(str(path) for path in distribution.files or [])
        owners.update((path, owner) for path in listed if not path.startswith(".."))
        repos[owner] = Repo(owner, _licence(root, distribution, listed))
    return owners, repos


def _licence(root: str, distribution: metadata.Distribution, listed: list[str]) -> str:
    """What the distribution declares, or else what its licence files say."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    declared = licences.declared("METADATA", text)
    if declared and licences.OTHER not in declared.split():
        return declared
    return (
        licence_in(root, [path for path in listed if "-info/" in path and licences.is_licence_file(path)]) or declared
    )
