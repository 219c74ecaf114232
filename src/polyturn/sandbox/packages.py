"""Finds the files of installed packages, so that programs get these and no others.

A package of the caller's environment may hold what a program must not read: a benchmark's data beside numpy, say.
"""

import functools
import importlib.metadata
import os
import re

from .limits import SandboxError


@functools.lru_cache
def package_paths(names: tuple[str, ...]) -> dict[str, str]:
    """Top-level files and folders of the packages, and of what they require: name -> path.

    SandboxError for a package that is not installed.
    """
    found: dict[str, str] = {}
    pending, seen = list(names), set[str]()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in names:
                text = f"programs are to import {name}, which is not installed: pip install {name}"
                raise SandboxError(text) from None
            continue  # required on other systems only, or for an extra
        found |= _top_level(distribution)
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                pending.append(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
    return found


def importable(names: tuple[str, ...]) -> list[str]:
    """The modules to import beforehand for these packages: their names, where those are modules."""
    # numpy.random is not imported with numpy, and must be there to be seeded.
    modules = {"scikit-learn": "sklearn", "numpy": "numpy.random"}
    return [modules.get(name, name) for name in names]


def _top_level(distribution: importlib.metadata.Distribution) -> dict[str, str]:
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "/", "__pycache__")}
    paths = {top: os.path.realpath(str(distribution.locate_file(top))) for top in tops}
    return {top: path for top, path in paths.items() if os.path.exists(path) and not top.endswith(".pth")}
