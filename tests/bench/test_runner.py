"""Runs: what is drawn, that nothing is lost or doubled, what grading says, shards."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import PROBLEMS, Listed, mixed, problems_file, right, tasks_file, write_lines

from polyturn.analysis.perplexity import study
from polyturn.analysis.report import report
from polyturn.bench import runner, shards
from polyturn.bench.baseline import Baseline
from polyturn.bench.benchmarks import Benchmark, Mode, read_benchmark
from polyturn.bench.grading import Conditions, grade_references, grade_run
from polyturn.bench.results import Run
from polyturn.bench.samples import Key, Sample, Settings, locked, read_samples, samples_path
from polyturn.sandbox import Isolation, Limits, ProgramError, ensure_sound
from polyturn.utils.errors import UserError
from polyturn.utils.lock import LOCK

FULL = Isolation()
QUICK = Limits(cpu_s=1.0, memory_mb=256)


class Killed(BaseException):
    """Ends a run in the middle."""


@pytest.fixture
def mtpb(tmp_path: Path) -> Benchmark:
    return read_benchmark("mtpb", problems_file(tmp_path))


def settings(benchmark: Benchmark, shard: str = "0/1") -> Settings:
    return Settings(benchmark.name, benchmark.digest, Listed.name, Listed.digest, None, 0.95, None, 0, shard=shard)


def draw(
    folder: Path,
    benchmark: Benchmark,
    model: Listed,
    modes: Sequence[Mode] = ("multi",),
    n: int = 4,
    shard: str = "0/1",
    temperatures: Sequence[float] = (0.2,),
) -> None:
    runner.draw_run(folder, benchmark, model, settings(benchmark, shard), modes, temperatures, n, said.append)


said: list[str] = []  # by the latest commands


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    said.clear()


sound = cache(ensure_sound)


@pytest.fixture(autouse=True)
def one_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each isolation; it takes longer than most of these tests."""
    monkeypatch.setattr("polyturn.bench.grading.ensure_sound", sound)


def grade(folder: Path, benchmark: Benchmark, *graders: str) -> dict[tuple[str, str], Run]:
    runs = grade_run(folder, benchmark, graders, Conditions(QUICK, 2, FULL), said.append)  # pyright: ignore[reportArgumentType]
    return {(run.mode, run.grader): run for run in runs}


def files(folder: Path) -> dict[str, bytes]:
    """What must not depend on how a run went."""
    paths = [*(folder / "samples").glob("*.jsonl"), folder / "results.json", folder / "turns.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_good_model_passes_in_every_mode(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), mtpb.modes, n=2)
    runs = grade(tmp_path / "run", mtpb, "strict", "original")
    assert {key: run.pass_rate for key, run in runs.items()} == dict.fromkeys(runs, 1.0)
    assert {mode for mode, _ in runs} == set(mtpb.modes)
    assert runs["multi", "strict"].cases == 4
    assert runs["oracle", "strict"].cases == 2  # the other problem has no reference code
    assert runs["multi", "strict"].settings["layers"]


def test_turns_see_what_the_model_wrote_and_the_oracle_what_was_right(tmp_path: Path, mtpb: Benchmark) -> None:
    model = Listed(lambda text, seed: "xs = [0]" if text.endswith("[1, 2, 4].\n") else right(text, seed))
    draw(tmp_path / "multi", mtpb, model, ("multi",), n=1)
    assert any("xs = [0]\n\n# Keep the even" in text for text in model.asked)
    draw(tmp_path / "oracle", mtpb, model, ("oracle",), n=1)
    assert any("xs = [1, 2, 4]\n\n# Keep the even" in text for text in model.asked)
    assert not any("xs = [0]\n\n# Keep the even" in text for text in model.asked[-6:])


def test_all_modes_ask_for_the_same_content(tmp_path: Path, mtpb: Benchmark) -> None:
    prompts = {}
    for mode in ("single", "concat"):
        model = Listed()
        draw(tmp_path / mode, mtpb, model, (mode,), n=1)
        prompts[mode] = next(text for text in model.asked if "[3]" in text).partition("np\n\n")[2]
    sentences = ['Let "xs" be [3].', 'Keep the even ones as "even".', 'Print "even", doubled.']
    assert prompts["single"] == "# " + " ".join(sentences) + "\n"
    assert prompts["concat"] == "".join(f"# {sentence}\n" for sentence in sentences)


def test_a_run_that_is_killed_goes_on_to_the_same_files(
    tmp_path: Path, mtpb: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "whole", mtpb, Listed(mixed), mtpb.modes)
    grade(tmp_path / "whole", mtpb, "strict")
    asked = 0

    def dies(text: str, seed: int) -> str:
        nonlocal asked
        asked += 1
        if asked in (3, 9, 40):
            raise Killed
        return mixed(text, seed)

    for attempt in range(4):
        if attempt < 3:
            with pytest.raises(Killed):
                draw(tmp_path / "killed", mtpb, Listed(dies), mtpb.modes)
            path = samples_path(tmp_path / "killed", "multi", 0.2)
            with path.open("ab") as file:
                file.write(b'{"task_id": "1", "ca')  # half a line
        else:
            draw(tmp_path / "killed", mtpb, Listed(dies), mtpb.modes)
    grade(tmp_path / "killed", mtpb, "strict")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_more_samples_keep_those_that_are_there(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(mixed), n=2)
    few = list(read_samples(samples_path(tmp_path / "run", "multi", 0.2)))
    model = Listed(mixed)
    draw(tmp_path / "run", mtpb, model, n=3)
    many = list(read_samples(samples_path(tmp_path / "run", "multi", 0.2)))
    assert [sample for sample in many if sample.key.sample < 2] == few
    assert len(model.asked) == 10  # one more sample of 2 x 3 and 2 x 2 turns


def test_shards_together_are_the_whole(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "whole", mtpb, Listed(mixed), ("multi", "single"), n=3)
    grade(tmp_path / "whole", mtpb, "strict")
    parts = [tmp_path / f"part{i}" for i in range(3)]
    for number, part in enumerate(parts):
        draw(part, mtpb, Listed(mixed), ("multi", "single"), n=3, shard=f"{number}/3")
    grade(parts[0], mtpb, "strict")
    shards.merge([parts[2], parts[0], parts[1]], tmp_path / "merged")
    grade(tmp_path / "merged", mtpb, "strict")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")
    with pytest.raises(UserError, match="missing: 1/3"):
        shards.merge([parts[0], parts[2]], tmp_path / "two")


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


def test_another_data_file_is_named(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed())
    path = problems_file(tmp_path)
    path.write_text(path.read_text().replace("doubled", "twice"))
    other = read_benchmark("mtpb", path)
    with pytest.raises(UserError, match=f"{mtpb.digest[:16]}.*{other.digest[:16]}"):
        grade(tmp_path / "run", other, "strict")
    with pytest.raises(UserError, match="with data"):
        draw(tmp_path / "run", other, Listed())


def test_settings_of_another_version_or_run_are_refused(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed())
    place = tmp_path / "run" / "run.json"
    record = json.loads(place.read_text())
    place.write_text(json.dumps({**record, "schema": 99}))
    with pytest.raises(UserError, match="another version"):
        grade(tmp_path / "run", mtpb, "strict")
    place.write_text(json.dumps({**record, "seed": 5}))
    with pytest.raises(UserError, match="seed 5, not 0"):
        draw(tmp_path / "run", mtpb, Listed())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="choose a new folder"):
        draw(tmp_path / "full", mtpb, Listed())


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


# ---- shards


def test_more_samples_in_shards_are_each_drawn_once(tmp_path: Path, mtpb: Benchmark) -> None:
    parts = [tmp_path / f"part{i}" for i in range(3)]
    modes: tuple[Mode, ...] = ("multi", "oracle")
    for n in (2, 4):
        for number, part in enumerate(parts):
            draw(part, mtpb, Listed(mixed), modes, n=n, shard=f"{number}/3")
    keys = [s.key for part in parts for s in read_samples(samples_path(part, "oracle", 0.2))]
    assert len(keys) == len(set(keys)) == 2 * 4 * 3  # cases of the problem with reference, samples, turns
    homes = {(key._replace(turn=0), number) for number, part in enumerate(parts) for key in oracle_keys(part)}
    assert len(homes) == 8  # all turns of a sample are in one shard
    draw(tmp_path / "whole", mtpb, Listed(mixed), modes, n=4)
    shards.merge(parts, tmp_path / "merged")
    for folder in ("whole", "merged"):
        grade(tmp_path / folder, mtpb, "strict")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")


def oracle_keys(folder: Path) -> list[Key]:
    return [sample.key for sample in read_samples(samples_path(folder, "oracle", 0.2))]


def test_a_merge_keeps_equal_samples_once_and_refuses_different_ones(tmp_path: Path, mtpb: Benchmark) -> None:
    parts = [tmp_path / "part0", tmp_path / "part1"]
    for number, part in enumerate(parts):
        draw(part, mtpb, Listed(mixed), n=3, shard=f"{number}/2")
    first, second = (samples_path(part, "multi", 0.2) for part in parts)
    line = first.read_text().splitlines()[0]
    second.write_text(second.read_text() + line + "\n")
    shards.merge(parts, tmp_path / "merged")
    assert len(list(read_samples(samples_path(tmp_path / "merged", "multi", 0.2)))) == 12
    before = files_there(tmp_path / "merged")
    with pytest.raises(UserError, match="not empty"):
        shards.merge(parts, tmp_path / "merged")
    assert files_there(tmp_path / "merged") == before
    second.write_text(second.read_text().replace(line, line.replace("xs", "ys")))
    with pytest.raises(UserError, match="hold different samples of task 1, case 1"):
        shards.merge(parts, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def files_there(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


# ---- a folder that others write to, that was killed, or damaged


def test_one_command_at_a_time(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), n=1)
    with locked(tmp_path / "run"):
        with pytest.raises(UserError, match="Another command draws or grades"):
            draw(tmp_path / "run", mtpb, Listed(), n=2)
        with pytest.raises(UserError, match="Another command draws or grades"):
            grade(tmp_path / "run", mtpb, "strict")
    assert grade(tmp_path / "run", mtpb, "strict")["multi", "strict"].n == 1


def test_what_a_kill_leaves_is_in_nobodys_way(tmp_path: Path, mtpb: Benchmark) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".run.json.12345678.part").write_text("{")
    (folder / LOCK).touch()
    draw(folder, mtpb, Listed(), n=1)
    with samples_path(folder, "multi", 0.2).open("ab") as file:
        file.write(b'{"task_id": "1", "ca')
    assert grade(folder, mtpb, "strict")["multi", "strict"].pass_rate == 1.0


@pytest.mark.parametrize(("field", "value"), [("task_id", "9"), ("case", 3), ("case", 0), ("turn", 1), ("codes", [])])
def test_samples_that_the_data_file_does_not_know_are_named(
    tmp_path: Path, mtpb: Benchmark, field: str, value: object
) -> None:
    draw(tmp_path / "run", mtpb, Listed(), n=1)
    path = samples_path(tmp_path / "run", "multi", 0.2)
    record = json.loads(path.read_text().splitlines()[0])
    path.write_text(path.read_text() + json.dumps({**record, "sample": 7, field: value}) + "\n")
    for attempt in (lambda: grade(tmp_path / "run", mtpb, "strict"), lambda: draw(tmp_path / "run", mtpb, Listed())):
        with pytest.raises(UserError, match=r"does not know .*; give the file"):
            attempt()


# ---- what is scored


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


def test_guesses_are_over_the_problems_of_the_run(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), ("multi", "oracle"), n=1)
    runs = grade(tmp_path / "run", mtpb, "strict")
    assert {mode: run.baseline for (mode, _), run in runs.items()} == {"multi": 0.5, "oracle": 0.5}
    path = problems_file(tmp_path)
    path.write_text(path.read_text().replace('"outputs": [[4, 8], []]', '"outputs": [[], []]'))
    guessed = read_benchmark("mtpb", path)
    assert [guessed.baseline("strict", only) for only in (["1"], ["2"], ["1", "2"])] == [
        Baseline(rate, rate) for rate in (1.0, 0.5, 0.75)
    ]


# ---- what is drawn


def test_at_temperature_0_one_sample_is_drawn(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(), n=3, temperatures=(0.0, 1.0))
    assert len([line for line in said if "temperature 0" in line]) == 1
    run = grade(tmp_path / "run", mtpb, "strict")
    counts = {path.name: len(path.read_text().splitlines()) for path in (tmp_path / "run" / "samples").iterdir()}
    assert counts == {"multi-t0.0.jsonl": 4, "multi-t1.0.jsonl": 12}
    assert run["multi", "strict"].missing == 0


def test_temperatures_that_print_alike_are_not_one(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "run", mtpb, Listed(mixed), n=1, temperatures=(0.2, 0.20000001))
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 2


@pytest.mark.parametrize("wrong", [{"top_p": 0.0}, {"top_p": 1.5}, {"shard": "3/3"}])
def test_settings_out_of_range_leave_nothing_behind(tmp_path: Path, mtpb: Benchmark, wrong: dict[str, Any]) -> None:
    given = replace(settings(mtpb), **wrong)
    with pytest.raises(UserError, match=r"give"):
        runner.draw_run(tmp_path / "run", mtpb, Listed(), given, ("multi",), (0.2,), 1, said.append)
    with pytest.raises(UserError, match="temperature"):
        draw(tmp_path / "run", mtpb, Listed(), temperatures=(0.2, -1.0))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("other", [{"chat": True}, {"protocol": 99}, {"seed": 1}, {"endpoint": "http://host/v1"}])
def test_samples_of_other_settings_are_never_mixed(tmp_path: Path, mtpb: Benchmark, other: dict[str, Any]) -> None:
    draw(tmp_path / "run", mtpb, Listed(), n=1)
    given = replace(settings(mtpb), **other)
    with pytest.raises(UserError, match=f"with {next(iter(other))}"):
        runner.draw_run(tmp_path / "run", mtpb, Listed(), given, ("multi",), (0.2,), 2, said.append)


def test_an_oracle_without_reference_code_says_so(tmp_path: Path) -> None:
    records = [{name: value for name, value in p.items() if name != "reference"} for p in PROBLEMS]
    benchmark = read_benchmark("mtpb", write_lines(tmp_path / "problems.jsonl", records))
    draw(tmp_path / "run", benchmark, Listed(), ("oracle",), n=1)
    assert said == ["oracle: 2 of 2 problems have no reference code, which it needs; nothing is drawn."]


def test_a_chat_model_may_answer_with_the_whole_function(tmp_path: Path) -> None:
    benchmark = read_benchmark("humaneval", tasks_file(tmp_path), chat=True)

    def whole(text: str, seed: int) -> str:
        if "tripled" in text:  # uses what stands before the function
            helper = "from math import pi\n\n\ndef helper(x):\n    return scale(x)\n\n\n"
            return helper + "def tripled(xs):\n    return [helper(x) for x in xs]\n"
        return right(text, seed) + "\nprint('for example')"

    draw(tmp_path / "run", benchmark, Listed(whole), ("single",), n=1)
    run = grade(tmp_path / "run", benchmark, "tests")["single", "tests"]
    assert run.scores == {"made/0": 1.0, "made/1": 1.0}
    texts = [sample.completion for sample in read_samples(samples_path(tmp_path / "run", "single", 0.2))]
    assert texts[0].startswith("from math import pi\n\n\ndef helper")
    assert "for example" not in texts[1]


def test_tokens_that_a_server_counted_are_kept(tmp_path: Path, mtpb: Benchmark) -> None:
    class Counted(Listed):
        def complete_texts(self, requests):
            for index, completion in super().complete_texts(requests):
                yield index, replace(completion, ids=[], tokens=17)

    draw(tmp_path / "run", mtpb, Counted(), n=1)
    samples = list(read_samples(samples_path(tmp_path / "run", "multi", 0.2)))
    assert {token for sample in samples for token in sample.tokens} == {17}


# ---- other tools, references


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


def test_the_files_own_solutions_pass(tmp_path: Path, mtpb: Benchmark) -> None:
    functions = read_benchmark("humaneval", tasks_file(tmp_path))
    conditions = Conditions(QUICK, 2, FULL)
    for benchmark in (functions, mtpb):
        for grader in benchmark.graders:
            verdicts = [result.verdict for _, result in grade_references(benchmark, grader, conditions)]
            assert verdicts == ["passed", "passed"]


# ---- where programs break


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
