"""Runs: what is drawn, that nothing is lost or doubled, what grading says, shards."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from made import Listed, mixed, problems_file, right, tasks_file, write_lines

from polyturn.bench import runner, shards
from polyturn.bench.benchmarks import Benchmark, Mode, read_benchmark
from polyturn.bench.grading import Conditions, grade_run
from polyturn.bench.results import Run
from polyturn.bench.samples import Sample, Settings, read_samples, samples_path
from polyturn.sandbox import Isolation, Limits
from polyturn.utils.errors import UserError

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
