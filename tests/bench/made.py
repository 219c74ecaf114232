"""Benchmarks made up for the tests, and a model that answers from a list."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from polyturn.engine.types import Completion, TextRequest

PROBLEMS = [
    {
        "id": "1",
        "name": "Evens doubled",
        "category": "array",
        "prompts": ['Let "xs" be {xs}.', 'Keep the even ones as "even".', 'Print "even", doubled.'],
        "inputs": [{"xs": [1, 2, 4]}, {"xs": [3]}],
        "outputs": [[4, 8], []],
        "max_gen_length": 64,
        "reference": ["xs = {xs}", "even = [x for x in xs if x % 2 == 0]", "print([2 * x for x in even])"],
    },
    {
        "id": "2",
        "name": "Shout",
        "category": "string",
        "prompts": ['Put the word "{word}" into "word".', 'Print "word" in upper case.'],
        "inputs": [{"word": "quiet"}, {"word": "a b"}],
        "outputs": ["QUIET", "A B"],
    },
]
RIGHT = {
    'Let "xs" be': "xs = {rest}",
    'Keep the even ones as "even"': "even = [x for x in xs if x % 2 == 0]",
    'Print "even", doubled': "print([2 * x for x in even])",
    'Put the word "quiet"': "word = 'quiet'",
    'Put the word "a b"': "word = 'a b'",
    'Print "word" in upper case': "print(word.upper())",
}

TASKS = [
    {
        "task_id": "made/0",
        "prompt": 'def scale(x):\n    return 3 * x\n\n\ndef tripled(xs):\n    """The numbers, each three times."""\n',
        "entry_point": "tripled",
        "canonical_solution": "    return [scale(x) for x in xs]\n",
        "test": "def check(candidate):\n    assert candidate([1, 2]) == [scale(1), 6]\n    assert not candidate([])\n",
    },
    {
        "task_id": "made/1",
        "prompt": 'def first(xs):\n    """The first item; ValueError where there is none."""\n',
        "entry_point": "first",
        "canonical_solution": "    if not xs:\n        raise ValueError('empty')\n    return xs[0]\n",
        "test": "def check(candidate):\n    assert candidate('ab') == 'a'\n    try:\n        candidate([])\n"
        "    except ValueError:\n        pass\n    else:\n        assert False\n",
    },
]


def write_lines(path: Path, records: Sequence[object]) -> Path:
    """A JSONL file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def problems_file(folder: Path) -> Path:
    """Two multi-turn problems of two cases, the first with reference code."""
    return write_lines(folder / "problems.jsonl", PROBLEMS)


def tasks_file(folder: Path) -> Path:
    """Two functions to complete."""
    return write_lines(folder / "tasks.jsonl", TASKS)


class Listed:
    """A model whose answer to a request is a function of its text and seed."""

    name = "listed"
    digest = hashlib.sha256(b"listed").hexdigest()
    width = 3
    context = None

    def __init__(self, answer: Callable[[str, int], str] | None = None) -> None:
        self.answer = answer or right
        self.asked: list[str] = []

    def complete_texts(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Completion]]:
        """Answers in an order of its own, each ended where the request says."""
        for index in reversed(range(len(requests))):
            request = requests[index]
            text = "".join(request.pieces)
            self.asked.append(text)
            found = self.answer(text, request.sampling.seed)
            if request.complete is not None and (end := request.complete(found)) is not None:
                found = found[:end]
            yield index, Completion([1] * len(found.split()), found, "stop", [], 1)


def right(text: str, seed: int) -> str:
    """What a good model would write behind the last comment, or inside the function."""
    if text.startswith("def"):
        return next(str(t["canonical_solution"]) for t in TASKS if t["prompt"] == text)
    comment = text.rstrip("\n").rpartition("\n\n")[2]  # all that was asked for at once
    return "".join(_code(sentence) + "\n" for sentence in comment.replace("\n# ", " ").removeprefix("# ").split(". "))


def mixed(text: str, seed: int) -> str:
    """Right in two of three samples."""
    return "print('no')\n" if seed % 3 == 0 else right(text, seed)


def _code(sentence: str) -> str:
    head = next(head for head in RIGHT if sentence.startswith(head))
    return RIGHT[head].format(rest=sentence.removeprefix(head).strip(" ."))
