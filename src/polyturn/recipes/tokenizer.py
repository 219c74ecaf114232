"""The corpus of the project's tokenizer: what every Python installation has at hand, and the curriculum."""

import site
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from polyturn.curriculum.compose import program
from polyturn.curriculum.heldout import TRAIN_SEED
from polyturn.synthesis.turns import history_text
from polyturn.utils.errors import UserError

SHARE = 8_000_000  # characters of source code from each folder: merges of the commonest 8,192 pairs need no more
LARGEST = 200_000  # a larger file is data more than code
PROGRAMS = 15_000


def installed() -> list[Path]:
    """The standard library and the installed packages of the running environment."""
    return [Path(sysconfig.get_paths()["stdlib"]), *(Path(p) for p in site.getsitepackages())]


def corpus(folders: Sequence[Path], wanted: Callable[[str], bool]) -> Iterator[str]:
    """Texts for the tokenizer: the first `SHARE` characters of each folder's Python files, then generated programs.

    Args:
        wanted: says whether a text may be used (the filter against held-out benchmarks).
    """
    for folder in folders:
        size = 0
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder).parts
            if "site-packages" in inside or not path.is_file() or path.stat().st_size > LARGEST:
                continue
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
            except OSError as error:
                raise UserError(f"Cannot read {path}: {error.strerror}; make it readable or leave it out.") from None
            if not wanted(text):
                continue
            size += len(text)
            yield text
            if size > SHARE:
                break
    for index in range(PROGRAMS):
        text = history_text(program(TRAIN_SEED, index).turns)
        if wanted(text):
            yield text
