"""Multi-turn problems in the format of the paper's benchmark, MTPB: intents with slots, inputs, values to print.

A file holds one JSON object a line:

    id, name, category      text; id is unique in the file
    prompts                 the intents, one a turn; `{name}` stands for the input of that name
    inputs                  one object of named values for each case
    outputs                 the value that the program of each case prints last, JSON. Surplus ones are left out
    max_gen_length          optional: tokens a turn may take, 256 by default
    prefix                  optional: code before the first turn; by default the paper's, which imports numpy
    reference               optional: code of each turn, slots as in the prompts but filled with Python's repr

Other fields are ignored. Cases are counted from 1. MTPB's texts are not part of this package: the file is given.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyturn.synthesis.turns import is_text
from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import read_jsonl

PREFIX = "# Import libraries.\n\nimport numpy as np"  # stands before the first turn, as in the paper's sampler
_MAX_TOKENS = 256  # the sampler's default
_SLOT = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Problem:
    """One problem: what is asked in each turn, and for each case what fills the slots and what must be printed.

    max_tokens: of one turn. prefix: code before the first turn, empty for none. reference: code of each turn, or None
    where the file has none.
    """

    id: str
    name: str
    category: str
    prompts: tuple[str, ...]
    inputs: tuple[dict[str, object], ...]
    outputs: tuple[object, ...]
    max_tokens: int = _MAX_TOKENS
    prefix: str = PREFIX
    reference: tuple[str, ...] | None = None

    @property
    def cases(self) -> int:
        """How many cases it has, one for each input."""
        return len(self.inputs)

    def intents(self, case: int) -> list[str]:
        """The intents of a case, from 1, its values written as by `str`; braces without an input's name stay."""
        return [_filled(prompt, self._inputs(case), str) for prompt in self.prompts]

    def reference_code(self, case: int) -> list[str]:
        """The reference's turns for a case, from 1, its values written as by `repr`. ValueError if there is none."""
        if self.reference is None:
            raise ValueError(f"problem {self.id} has no reference")
        return [_filled(code, self._inputs(case), repr) for code in self.reference]

    def gold(self, case: int) -> object:
        """The value that the program of a case, from 1, must print last."""
        return self.outputs[self._at(case)]

    def _inputs(self, case: int) -> dict[str, object]:
        return self.inputs[self._at(case)]

    def _at(self, case: int) -> int:
        if not 1 <= case <= self.cases:
            raise IndexError(f"problem {self.id} has cases 1 to {self.cases}, not {case}")
        return case - 1


@dataclass(frozen=True)
class Problems:
    """The problems of a file, in its order, and the SHA-256 of the file's bytes, hexadecimal."""

    problems: tuple[Problem, ...]
    digest: str


def read_problems(path: str | Path) -> Problems:
    """Read a .jsonl or .jsonl.gz file of problems.

    Raises:
        UserError: the file is not there, or is not what this file describes; with the line.
    """
    found: dict[str, Problem] = {}
    for number, record in read_jsonl(path):
        try:
            problem = _problem(record)
            if problem.id in found:
                raise ValueError(f"a second problem has the id {problem.id!r}")
        except ValueError as error:
            raise UserError(f"Line {number} of {path}: {error}; mend the line, or fetch the file again.") from None
        found[problem.id] = problem
    if not found:
        raise UserError(f"{path} holds no problems; give MTPB's jsonl file.")
    return Problems(tuple(found.values()), hashlib.sha256(Path(path).read_bytes()).hexdigest())


def _filled(text: str, values: dict[str, object], write: Any) -> str:
    return _SLOT.sub(lambda slot: write(values[slot[1]]) if slot[1] in values else slot[0], text)


def _problem(record: dict[str, Any]) -> Problem:
    """The problem of a line. ValueError, a clause about what is wrong, for any other record."""
    number, name, category = (_text(record, field) for field in ("id", "name", "category"))
    prompts = _texts(record, "prompts")
    inputs, outputs = _list(record, "inputs"), _list(record, "outputs")
    if not all(isinstance(each, dict) for each in inputs):
        raise ValueError("inputs holds something else than objects")
    if not prompts or not inputs:
        raise ValueError("prompts or inputs is empty")
    if len(outputs) < len(inputs):
        raise ValueError(f"there are {len(inputs)} inputs and only {len(outputs)} outputs")
    tokens = record.get("max_gen_length", _MAX_TOKENS)
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
        raise ValueError(f"max_gen_length is {tokens!r}, not a positive number")
    reference = None if record.get("reference") is None else _texts(record, "reference")
    if reference is not None and len(reference) != len(prompts):
        raise ValueError(f"there are {len(prompts)} prompts and {len(reference)} turns of reference")
    prefix = _text({"prefix": PREFIX, **record}, "prefix")
    outputs = tuple(outputs[: len(inputs)])
    return Problem(number, name, category, prompts, tuple(inputs), outputs, tokens, prefix, reference)


def _text(record: dict[str, Any], field: str) -> str:
    value = record.get(field)
    if not is_text(value):
        raise ValueError(f"{field} is missing" if value is None else f"{field} is not text")
    return value


def _list(record: dict[str, Any], field: str) -> list[Any]:
    value = record.get(field)
    if not isinstance(value, list):
        raise ValueError(f"{field} is missing" if value is None else f"{field} is not a list")
    return value


def _texts(record: dict[str, Any], field: str) -> tuple[str, ...]:
    values = _list(record, field)
    if not all(is_text(value) for value in values):
        raise ValueError(f"{field} holds something else than text")
    return tuple(values)
