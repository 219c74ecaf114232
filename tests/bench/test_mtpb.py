"""The format of multi-turn problems: slots, defaults, oddities, and what a damaged file is told. And MTPB's errata."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from polyturn.bench.errata import errata, is_mtpb, unfair
from polyturn.bench.mtpb import PREFIX, Problem, Problems, read_problems
from polyturn.synthesis.turns import prefix_text
from polyturn.utils.errors import UserError

FORMAT = Path(__file__).parent / "data" / "turns_format.jsonl"
LINE = {"id": "1", "name": "n", "category": "c", "prompts": ["p {a}"], "inputs": [{"a": 1}], "outputs": [2]}


def test_reads_the_format_and_its_oddities() -> None:
    words, halves, nothing, umlaut = read_problems(FORMAT).problems
    assert [each.id for each in (words, halves, nothing, umlaut)] == ["1", "2", "x-3", "4"]
    assert [each.cases for each in (words, halves, nothing, umlaut)] == [2, 3, 4, 1]
    assert [each.max_tokens for each in (words, halves, nothing, umlaut)] == [64, 256, 512, 128]
    assert halves.outputs == ([1.5, 2.5], [], [1.25])  # the surplus one is left out
    assert (nothing.gold(1), nothing.gold(2), nothing.gold(4)) == (None, True, {"1": [1, {"a": None}]})
    assert (words.name, words.category) == ("Last letters", "string")


def test_slots_are_filled_and_other_braces_stay() -> None:
    words, halves, nothing, umlaut = read_problems(FORMAT).problems
    assert words.intents(2)[0] == 'Keep the text "no" as "text".'
    assert words.reference_code(2) == ["text = 'no'", "print(''.join(word[-1] for word in text.split()))"]
    assert halves.intents(1) == [
        'Assign [3, 5] to "numbers".',
        "Print the half of each, and leave {this} and {} alone.",
    ]
    assert [nothing.intents(case) for case in (1, 2, 3, 4)] == [
        ["Print None."],
        ["Print True."],
        ["Print {value}."],  # what was filled in is not filled again
        ["Print inf."],
    ]
    assert umlaut.intents(1) == ["Zeige 2.", 'Print "2 mal".']
    with pytest.raises(ValueError, match="problem 2 has no reference"):
        halves.reference_code(1)


@pytest.mark.parametrize("case", [0, 3, -1])
def test_cases_are_counted_from_one(case: int) -> None:
    words = read_problems(FORMAT).problems[0]
    for ask in (words.intents, words.gold, words.reference_code):
        with pytest.raises(IndexError, match="cases 1 to 2"):
            ask(case)


def test_the_digest_is_of_the_files_bytes(tmp_path: Path) -> None:
    packed = tmp_path / "problems.jsonl.gz"
    packed.write_bytes(gzip.compress(FORMAT.read_bytes()))
    plain, unpacked = read_problems(FORMAT), read_problems(packed)
    assert repr(plain.problems) == repr(unpacked.problems)
    assert plain.digest == hashlib.sha256(FORMAT.read_bytes()).hexdigest()
    assert unpacked.digest == hashlib.sha256(packed.read_bytes()).hexdigest()


def test_the_prefix_is_that_of_the_papers_sampler() -> None:
    assert prefix_text(PREFIX) == "# Import libraries.\n\nimport numpy as np\n\n"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "Expecting"),
        ("[" * 100_000, "recursion"),
        ("[1]", "not a JSON object"),
        (LINE | {"id": 1}, "id is not text"),
        (LINE | {"id": None}, "id is missing"),
        (LINE | {"name": "\ud800"}, "name is not text"),
        (LINE | {"category": 3}, "category is not text"),
        (LINE | {"prompts": "p"}, "prompts is not a list"),
        (LINE | {"prompts": ["p", 3]}, "prompts holds something else"),
        (LINE | {"prompts": []}, "prompts or inputs is empty"),
        (LINE | {"inputs": []}, "prompts or inputs is empty"),
        (LINE | {"inputs": [[1]]}, "inputs holds something else"),
        (LINE | {"outputs": []}, "1 inputs and only 0 outputs"),
        (LINE | {"outputs": None}, "outputs is missing"),
        (LINE | {"max_gen_length": 0}, "max_gen_length is 0"),
        (LINE | {"max_gen_length": True}, "max_gen_length is True"),
        (LINE | {"max_gen_length": "128"}, "max_gen_length is '128'"),
        (LINE | {"reference": ["a", "b"]}, "1 prompts and 2 turns"),
        (LINE | {"reference": [1]}, "reference holds something else"),
        (LINE | {"id": "0"}, "a second problem has the id '0'"),
    ],
)
def test_a_damaged_line_is_named(line: object, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    text = line if isinstance(line, str) else json.dumps(line)
    path.write_text(json.dumps(LINE | {"id": "0"}) + "\n\n" + text + "\n")
    with pytest.raises(UserError, match=rf"Line 3 of .*problems\.jsonl.*{complaint}"):
        read_problems(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe")
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(FORMAT.read_bytes())[:-9])
    (tmp_path / "not.jsonl.gz").write_bytes(b"{}")
    (tmp_path / "flipped.jsonl.gz").write_bytes(gzip.compress(b"{}")[:10] + b"\xff" * 20)
    for name in ("empty.jsonl", "binary.jsonl", "torn.jsonl.gz", "not.jsonl.gz", "flipped.jsonl.gz", "absent.jsonl"):
        with pytest.raises(UserError, match=name):
            read_problems(tmp_path / name)


# ---- errata


def numbered(ids: list[str], cases: int = 5) -> Problems:
    return Problems(tuple(Problem(i, "n", "c", ("p",), ({},) * cases, (1,) * cases) for i in ids), "digest")


def test_errata_are_of_the_released_file_alone() -> None:
    ids = [str(number) for number in range(1, 116)]
    assert is_mtpb(numbered(ids))
    assert is_mtpb(numbered(sorted(ids)))
    assert not is_mtpb(numbered(ids[1:]))
    assert not is_mtpb(numbered([*ids[1:], "116"]))
    assert not is_mtpb(numbered(ids, cases=4))
    assert not is_mtpb(read_problems(FORMAT))


def test_errata_name_43_of_575_cases_once_each() -> None:
    everything = [pair for each in errata().classes for pair in each.cases]
    assert len(set(everything)) == len(everything) == 53
    assert all(1 <= int(problem) <= 115 and 1 <= case <= 5 for problem, case in everything)
    found = [(str(problem), case) for problem in range(1, 116) for case in range(1, 6) if unfair(str(problem), case)]
    assert len(found) == 43
    assert {name.name for name in errata().classes if not name.unfair} == {"packages absent"}
    assert (unfair("41", 2), unfair("41", 1), unfair("6", 1)) == (True, False, False)
