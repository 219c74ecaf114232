"""Grading a run: what is scored, what is run again, samples of other tools, where programs break."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from made import Listed, problems_file, right, tasks_file, write_lines
from small_runs import FULL, QUICK, draw, files, grade, said

from polyturn.analysis.perplexity import study
from polyturn.analysis.report import report
from polyturn.bench import runner
from polyturn.bench.baseline import Baseline
from polyturn.bench.benchmarks import Benchmark, Mode, read_benchmark
from polyturn.bench.grading import Conditions, grade_references, grade_run
from polyturn.bench.samples import Sample, read_samples, samples_path
from polyturn.sandbox import ProgramError
from polyturn.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("one_self_test", "nothing_said")


def test_a_good_model_passes_in_every_mode(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), mtpb.modes, n=2)
    runs = grade(tmp_path / "run", mtpb, "strict", "original")
    assert {key: run.pass_rate for key, run in runs.items()} == dict.fromkeys(runs, 1.0)
    assert {mode for mode, _ in runs} == set(mtpb.modes)
    assert runs["multi", "strict"].cases == 4
    assert runs["oracle", "strict"].cases == 2  # the other problem has no reference code
    assert runs["multi", "strict"].settings["layers"]


# ---- samples of other tools


def test_samples_of_other_tools(tmp_path: Path) -> None:
    benchmark = read_benchmark("humaneval", tasks_file(tmp_path))
    completions = [
        {"task_id": "made/0", "completion": "    return [scale(x) for x in xs]\n"},
        {"task_id": "made/0", "completion": "    return []\n"},
        {"task_id": "made/1", "solution": "def first(xs):\n    return list(xs)[0] if xs else int('')\n"},
    ]
    runner.take_samples(write_lines(tmp_path / "samples.jsonl", completions), tmp_path / "run", benchmark)
    (run,) = grade(tmp_path / "run", benchmark, "tests").values()
    assert run.scores == {"made/0": 0.5, "made/1": 1.0}
    assert run.missing == 1  # made/1 has one sample, made/0 two
    assert set(run.pass_at) == {"1"}  # no pass@10 of two samples


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"task_id": "made/9", "completion": ""}, "made/9"),
        ({"task_id": "made/0"}, "Line 1 of .*completion"),
        ({"completion": ""}, "Line 1 of .*task_id"),
    ],
)
def test_bad_samples_are_told(tmp_path: Path, record: dict[str, str], says: str) -> None:
    benchmark = read_benchmark("humaneval", tasks_file(tmp_path))
    with pytest.raises(UserError, match=says):
        runner.take_samples(write_lines(tmp_path / "samples.jsonl", [record]), tmp_path / "run", benchmark)
    assert not (tmp_path / "run").exists()


def test_a_file_without_samples_is_told(tmp_path: Path) -> None:
    benchmark = read_benchmark("humaneval", tasks_file(tmp_path))
    with pytest.raises(UserError, match=r"samples\.jsonl holds no samples"):
        runner.take_samples(write_lines(tmp_path / "samples.jsonl", []), tmp_path / "run", benchmark)
    assert not (tmp_path / "run").exists()


def test_our_own_lines_given_as_a_file_stay_what_they_were(tmp_path: Path) -> None:
    benchmark = read_benchmark("humaneval", tasks_file(tmp_path))
    whole = "def first(xs):\n    return list(xs)[0] if xs else int('')\n"
    given = write_lines(tmp_path / "samples.jsonl", [{"task_id": "made/1", "solution": "# by hand\n" + whole}])
    runner.take_samples(given, tmp_path / "run", benchmark)
    again = tmp_path / "run" / "samples" / "given.jsonl"
    runner.take_samples(again, tmp_path / "again", benchmark)
    assert list(read_samples(tmp_path / "again" / "samples" / "given.jsonl")) == list(read_samples(again))
    assert grade(tmp_path / "again", benchmark, "tests")["given", "tests"].scores == {"made/1": 1.0}


def test_single_turns_of_an_oracle_are_no_samples_file(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), ("oracle",), n=1)
    with pytest.raises(UserError, match=r"Line 1 of .* one turn of a program"):
        runner.take_samples(samples_path(tmp_path / "run", "oracle", 0.2), tmp_path / "other", mtpb)


# ---- what is scored


def test_an_oracle_sample_without_all_its_turns_is_missing(tmp_path: Path, mtpb: Benchmark) -> None:
    wrong_last = Listed(lambda text, seed: "print('no')" if text.endswith("doubled.\n") else right(text, seed))
    draw(tmp_path / "run", mtpb, wrong_last, ("oracle",), n=2)
    path = samples_path(tmp_path / "run", "oracle", 0.2)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    write_lines(path, [r for r in records if r["turn"] < 3 or (r["case"], r["sample"]) == (1, 0)])
    run = grade(tmp_path / "run", mtpb, "strict")["oracle", "strict"]
    assert (run.samples, run.missing, run.pass_rate) == (1, 3, 0.0)
    write_lines(path, [r for r in records if r["turn"] < 3])
    with pytest.raises(UserError, match="no samples that can be scored"):
        grade(tmp_path / "run", mtpb, "strict")
    assert "no sample is whole" in said[-1]


def test_a_model_whose_context_is_full_fails_those_cases(tmp_path: Path, mtpb: Benchmark) -> None:
    class Short(Listed):
        def complete_texts(self, requests):
            for index, completion in super().complete_texts(requests):
                full = "even" in requests[index].pieces[-1]
                yield index, type(completion)([], "", "context", [], 1) if full else completion

    draw(tmp_path / "run", mtpb, Short(), n=1)
    run = grade(tmp_path / "run", mtpb, "strict")["multi", "strict"]
    assert run.scores == {"1": 0.0, "2": 1.0}
    samples: dict[str, Sample] = {s.key.task: s for s in read_samples(samples_path(tmp_path / "run", "multi", 0.2))}
    assert samples["1"].ended_by[1:] == ("context", "context")


def test_a_context_too_short_is_told_and_never_run(tmp_path: Path, mtpb: Benchmark) -> None:
    class Short(Listed):
        """Has no room for the last turn, and has printed the right value before."""

        def complete_texts(self, requests):
            for index, completion in super().complete_texts(requests):
                text = requests[index].pieces[-1]
                early = completion.text + "print([2 * x for x in even])\n" if "Keep" in text else completion.text
                full = text.endswith("doubled.\n")
                yield (
                    index,
                    replace(completion, text="" if full else early, finish_reason="context" if full else "stop"),
                )

    for mode in ("multi", "oracle"):
        draw(tmp_path / mode, mtpb, Short(), (mode,), n=1)
        run = grade(tmp_path / mode, mtpb, "strict")[mode, "strict"]
        assert run.scores["1"] == 0.0
        assert run.verdicts["context"] == run.too_long == 2
        assert "context too short: 2 of" in " ".join(report([tmp_path / mode], "table", width=200).split())
        assert "context too short: 2 of" in report([tmp_path / mode], "markdown")
        (record,) = json.loads(report([tmp_path / mode], "json"))["runs"]
        assert record["too_long"] == 2
        (row,) = csv.DictReader(StringIO(report([tmp_path / mode], "csv")))
        assert row["too_long"] == "2"


@pytest.mark.parametrize("mode", ["single", "concat"])
def test_a_context_too_short_for_a_prompt_is_told(tmp_path: Path, mtpb: Benchmark, mode: Mode) -> None:
    class Full(Listed):
        def complete_texts(self, requests):
            for index, completion in super().complete_texts(requests):
                yield index, replace(completion, ids=[], text="", finish_reason="context")

    draw(tmp_path / "run", mtpb, Full(), (mode,), n=1)
    assert grade(tmp_path / "run", mtpb, "strict")[mode, "strict"].verdicts == {"context": 4}
    functions = read_benchmark("humaneval", tasks_file(tmp_path))
    draw(tmp_path / "functions", functions, Full(), ("single",), n=1)
    assert grade(tmp_path / "functions", functions, "tests")["single", "tests"].verdicts == {"context": 2}


def test_results_of_other_graders_stay_while_the_samples_do(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), n=1)
    both = grade(tmp_path / "run", mtpb, "strict", "original")
    before = files(tmp_path / "run")
    assert grade(tmp_path / "run", mtpb, "original") == both
    assert files(tmp_path / "run") == before
    draw(tmp_path / "run", mtpb, Listed(), n=2)
    assert set(grade(tmp_path / "run", mtpb, "original")) == {("multi", "original")}


def test_a_report_says_what_is_not_graded_yet(tmp_path: Path, mtpb: Benchmark) -> None:
    folder = tmp_path / "run"

    def told() -> tuple[str, dict[str, int]]:
        text = " ".join(report([folder], "table", width=500).split())
        return text, json.loads(report([folder], "json")).get("not_graded", {}).get(str(folder), {})

    draw(folder, mtpb, Listed(), ("multi", "oracle"), n=1)
    grade(folder, mtpb, "strict", "original")
    with samples_path(folder, "multi", 0.2).open("a") as file:
        file.write('{"task_id": "1", "ca')  # of a run at work
    text, counts = told()
    assert "graded" not in text.lower()
    assert counts == {}
    draw(folder, mtpb, Listed(), ("multi", "oracle", "single"), n=3)
    text, counts = told()
    assert counts == {"multi-t0.2": 8, "oracle-t0.2": 12, "single-t0.2": 12}
    path = samples_path(folder, "multi", 0.2)
    assert f"Not graded yet: 8 of the samples in {path}; `polyturn bench grade" in text
    grade(folder, mtpb, "strict")
    assert told()[1] == {}
    path.write_text(path.read_text().replace("upper", "lower"))
    text, counts = told()
    assert counts == {"multi-t0.2": 0}
    assert f"The samples in {path} have changed since they were graded; `polyturn bench grade" in text


def test_limits_are_those_in_force(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), n=1)
    runs = grade(tmp_path / "run", mtpb, "strict", "original")
    assert runs["multi", "strict"].settings["limits"]["cpu_s"] == QUICK.cpu_s
    original = runs["multi", "original"].settings["limits"]
    assert original["alarm_s"] == 20.0 < original["cpu_s"]


def test_programs_are_run_again_under_other_conditions_only(
    tmp_path: Path, mtpb: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "run", mtpb, Listed(), n=1)
    journal = tmp_path / "run" / "graded" / "multi-t0.2-strict.jsonl"
    for expected in (4, 4):
        grade(tmp_path / "run", mtpb, "strict")
        assert len(journal.read_text().splitlines()) == expected
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    run = grade(tmp_path / "run", mtpb, "strict")["multi", "strict"]
    assert len(journal.read_text().splitlines()) == 8
    assert run.settings["versions"].keys() >= {"python", "numpy"}
    weaker = Conditions(QUICK, 2, replace(FULL, allow_weaker=True))
    (run,) = grade_run(tmp_path / "run", mtpb, ("strict",), weaker, said.append)
    assert len(journal.read_text().splitlines()) == 12
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    records[-1]["layers"] = records[-1]["layers"][1:]
    write_lines(journal, records)
    (again,) = grade_run(tmp_path / "run", mtpb, ("strict",), weaker, said.append)
    assert len(again.settings["layers"]) == len(run.settings["layers"]) - 1  # only what held every program is told


def test_what_the_sandbox_fails_on_is_tried_again_and_then_missing(
    tmp_path: Path, mtpb: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "run", mtpb, Listed(), n=1)
    honest, tries = mtpb.grade, []

    def stumbling(grader, samples, limits, workers, isolation):
        kept = list(samples)
        tries.append(len(kept))
        for sample, result in zip(kept, honest(grader, kept, limits, workers, isolation), strict=True):
            bad = sample.key.task == "2" and (sample.key.case == 2 or len(tries) == 1)
            error = ProgramError("SandboxError", "it broke")
            yield replace(result, verdict="internal-error", error=error) if bad else result

    monkeypatch.setattr(mtpb, "grade", stumbling)
    run = grade(tmp_path / "run", mtpb, "strict")["multi", "strict"]
    assert tries == [4, 2]
    assert (run.samples, run.missing, run.verdicts) == (3, 1, {"passed": 3})
    assert said[-1].startswith("WARNING")
    monkeypatch.undo()
    assert grade(tmp_path / "run", mtpb, "strict")["multi", "strict"].missing == 0


def test_guesses_are_over_the_cases_of_the_run(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), ("multi", "oracle"), n=1)
    runs = grade(tmp_path / "run", mtpb, "strict")
    assert {mode: run.baseline for (mode, _), run in runs.items()} == {"multi": 0.5, "oracle": 0.5}
    path = problems_file(tmp_path)
    path.write_text(path.read_text().replace('"outputs": [[4, 8], []]', '"outputs": [[], []]'))
    guessed = read_benchmark("mtpb", path)
    one, two = [("1", 1), ("1", 2)], [("2", 1), ("2", 2)]
    assert [guessed.baseline("strict", only) for only in (one, two, one + two, two[:1], one + two[1:])] == [
        Baseline(rate, rate) for rate in (1.0, 0.5, 0.75, 1.0, 1.0)
    ]
    samples = samples_path(tmp_path / "run", "multi", 0.2)
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:3]))
    partial = grade(tmp_path / "run", mtpb, "strict")["multi", "strict"]
    assert (partial.cases, partial.baseline) == (3, 0.75)  # a guess passes the one case of the second problem


def test_the_files_own_solutions_pass(tmp_path: Path, mtpb: Benchmark) -> None:
    functions = read_benchmark("humaneval", tasks_file(tmp_path))
    conditions = Conditions(QUICK, 2, FULL)
    for benchmark in (functions, mtpb):
        for grader in benchmark.graders:
            verdicts = [result.verdict for _, result in grade_references(benchmark, grader, conditions)]
            assert verdicts == ["passed", "passed"]


def test_a_damaged_verdict_is_left_out_and_graded_again(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), n=1)
    before = grade(tmp_path / "run", mtpb, "strict")
    whole = files(tmp_path / "run")
    journal = tmp_path / "run" / "graded" / "multi-t0.2-strict.jsonl"
    lines = journal.read_text().splitlines()
    damaged = [lines[0][:20], lines[1].replace('"verdict"', '"word"'), lines[2], "[1]"]
    journal.write_text("\n".join(damaged) + "\n" + lines[3][:5])  # the last a kill left
    assert grade(tmp_path / "run", mtpb, "strict") == before
    assert [line for line in said if "damaged" in line] == [
        f"{journal}: left out 3 damaged lines; what stood there is graded again."
    ]
    assert files(tmp_path / "run") == whole
    assert sorted(journal.read_text().splitlines()) == sorted(lines)


# ---- where programs break


def test_where_programs_break_is_told(tmp_path: Path, mtpb: Benchmark) -> None:
    def forgets(text: str, seed: int) -> str:
        """Does not keep the even ones, so that the last turn misses them; writes half a statement for words."""
        if text.endswith('as "even".\n'):
            return "pass"
        return "word = (" if text.endswith('into "word".\n') else right(text, seed)

    draw(tmp_path / "run", mtpb, Listed(forgets), n=1)
    grade(tmp_path / "run", mtpb, "strict")
    (table,) = json.loads((tmp_path / "run" / "turns.json").read_text())["runs"]
    assert table["outcomes"] == {"name": 2, "syntax": 2}
    by_turn = {row["turn"]: row for row in table["turns"]}
    assert by_turn[3]["broke"] == {"name": 2}
    assert by_turn[2]["blamed"] == 2  # whose intent names it first
    assert by_turn[3]["blamed"] == 0


def test_breaks_without_a_line_have_no_turn(tmp_path: Path, mtpb: Benchmark) -> None:
    def loops(text: str, seed: int) -> str:
        if text.endswith('as "even".\n'):
            return "while True:\n    pass"
        return "print((" if text.endswith("upper case.\n") else right(text, seed)

    draw(tmp_path / "run", mtpb, Listed(loops), n=1)
    grade(tmp_path / "run", mtpb, "strict")
    (table,) = json.loads((tmp_path / "run" / "turns.json").read_text())["runs"]
    assert table["unknown"] == {"timeout": 2}
    first, second = table["turns"][:2]
    assert (first["written"], first["alive"]) == (2, 0)  # no turn of what is no Python has run
    assert second["broke"] == {"syntax": 2}


# ---- perplexity


class Even:
    """Gives every character the probability a half."""

    def log_probabilities(self, pieces: Sequence[str]) -> list[np.ndarray]:
        return [np.full(len(piece), np.log(0.5)) for piece in pieces]


def test_perplexity_is_studied_with_a_grader_that_is_there(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), ("multi", "single", "oracle"), n=1)
    grade(tmp_path / "run", mtpb, "original")
    studied = study(tmp_path / "run", mtpb, Even(), said.append)["runs"]
    assert [(table["mode"], table["grader"], table["all"]["mean"]) for table in studied] == [
        ("multi", "original", 2.0),
        ("single", "original", 2.0),
    ]
    text = " ".join(report([tmp_path / "run"], "table", width=200).split())
    assert "Perplexity of prompts" in text
    assert "Left out" not in text
    draw(tmp_path / "run", mtpb, Listed(), ("multi",), n=2)
    grade(tmp_path / "run", mtpb, "original")
    assert "Left out: multi, studied of other samples" in " ".join(
        report([tmp_path / "run"], "table", width=200).split()
    )


def test_where_no_perplexity_can_be_studied_it_is_said(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), ("oracle",), n=1)
    grade(tmp_path / "run", mtpb, "strict")
    assert study(tmp_path / "run", mtpb, Even(), said.append)["runs"] == []
    assert "No perplexity was studied" in said[-1]
