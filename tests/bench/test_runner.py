"""Drawing: what is asked, that nothing is lost or doubled, which folders are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made import PROBLEMS, Listed, mixed, problems_file, right, tasks_file, write_lines
from small_runs import draw, files, grade, said, settings

from polyturn.bench import runner
from polyturn.bench.benchmarks import Benchmark, read_benchmark
from polyturn.bench.samples import locked, read_samples, samples_path
from polyturn.utils.errors import UserError
from polyturn.utils.lock import LOCK

pytestmark = pytest.mark.usefixtures("one_self_test", "nothing_said")


class Killed(BaseException):
    """Ends a run in the middle."""


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


@pytest.mark.parametrize("damage", [b'{"task_id": "1", "case": 1, "sam', b"\xff\xfe", b"[]", b'{"task_id": "1"}'])
def test_a_damaged_line_is_removed_and_its_sample_drawn_again(tmp_path: Path, mtpb: Benchmark, damage: bytes) -> None:
    folder = tmp_path / "run"
    draw(folder, mtpb, Listed(mixed), n=2)
    path = samples_path(folder, "multi", 0.2)
    whole = path.read_bytes()
    lines = whole.splitlines()
    path.write_bytes(b"\n".join([*lines[:3], damage, *lines[4:]]) + b"\n")
    for attempt in (lambda: draw(folder, mtpb, Listed(mixed), n=2), lambda: grade(folder, mtpb, "strict")):
        with pytest.raises(UserError, match=r"Line 4 of .*; remove the line, and .* draws its sample again\."):
            attempt()
    path.write_bytes(b"\n".join([*lines[:3], *lines[4:]]) + b"\n")
    draw(folder, mtpb, Listed(mixed), n=2)
    assert path.read_bytes() == whole


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


def test_a_run_without_a_sample_binds_nobody(tmp_path: Path, mtpb: Benchmark) -> None:
    def unreachable(text: str, seed: int) -> str:
        raise UserError("Nobody answers.")

    wrong = replace(settings(mtpb), endpoint="http://hots/v1")
    with pytest.raises(UserError, match="Nobody answers"):
        runner.draw_run(tmp_path / "run", mtpb, Listed(unreachable), wrong, ("single",), (0.2,), 1, said.append)
    draw(tmp_path / "run", mtpb, Listed(), ("multi",), n=1)
    draw(tmp_path / "right", mtpb, Listed(), ("multi",), n=1)
    for folder in ("run", "right"):
        assert grade(tmp_path / folder, mtpb, "strict")["multi", "strict"].pass_rate == 1.0
    results = [(tmp_path / folder / "results.json").read_bytes() for folder in ("run", "right")]
    assert results[0] == results[1]
    with pytest.raises(UserError, match="holds a run with endpoint"):
        runner.draw_run(tmp_path / "run", mtpb, Listed(), wrong, ("multi",), (0.2,), 1, said.append)


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
