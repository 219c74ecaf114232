"""Shards: each sample is in one, and together they are the whole run."""

from pathlib import Path

import pytest
from made import Listed, mixed
from small_runs import draw, files, grade, said

from polyturn.bench import shards
from polyturn.bench.benchmarks import Benchmark, Mode
from polyturn.bench.samples import Key, read_samples, samples_path
from polyturn.cli.main import main
from polyturn.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("one_self_test", "nothing_said")


def test_shards_together_are_the_whole(tmp_path: Path, mtpb: Benchmark) -> None:
    draw(tmp_path / "whole", mtpb, Listed(mixed), ("multi", "single"), n=3)
    grade(tmp_path / "whole", mtpb, "strict")
    parts = [tmp_path / f"part{i}" for i in range(3)]
    for number, part in enumerate(parts):
        draw(part, mtpb, Listed(mixed), ("multi", "single"), n=3, shard=f"{number}/3")
    grade(parts[0], mtpb, "strict")
    shards.merge([parts[2], parts[0], parts[1]], tmp_path / "merged", said.append)
    grade(tmp_path / "merged", mtpb, "strict")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")
    with pytest.raises(UserError, match="missing: 1/3"):
        shards.merge([parts[0], parts[2]], tmp_path / "two", said.append)
    with pytest.raises(UserError, match="one too many: 2/3"):
        shards.merge([*parts, parts[2]], tmp_path / "four", said.append)
    with pytest.raises(UserError, match="whole runs and not shards; `polyturn bench report`"):
        shards.merge([tmp_path / "whole", tmp_path / "merged"], tmp_path / "both", said.append)


def test_a_shard_graded_alone_says_what_it_is(
    tmp_path: Path, mtpb: Benchmark, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "part", mtpb, Listed(), n=2, shard="1/2")
    data = str(tmp_path / "problems.jsonl")
    assert main(["bench", "grade", str(tmp_path / "part"), "--data", data, "--graders", "strict"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "listed is shard 1/2, a part of a run" in told
    assert "`polyturn bench merge` puts all parts together" in told


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
    shards.merge(parts, tmp_path / "merged", said.append)
    for folder in ("whole", "merged"):
        grade(tmp_path / folder, mtpb, "strict")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")


@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("mode", ["multi", "oracle"])
def test_a_merge_of_an_unfinished_shard_says_what_is_missing(
    tmp_path: Path, mtpb: Benchmark, graded: bool, mode: Mode
) -> None:
    parts = two_parts(tmp_path, mtpb, mode)
    unfinished = samples_path(parts[1], mode, 0.2)
    lines = unfinished.read_text().splitlines(keepends=True)
    unfinished.write_text("".join(lines[: len(lines) // 2]))  # those of the first cases
    said.clear()
    if graded:
        grade(parts[0], mtpb, "strict")
    shards.merge([parts[1], parts[0]], tmp_path / "merged", said.append)
    run = grade(tmp_path / "merged", mtpb, "strict")[mode, "strict"]
    there = [len(whole_samples(part, mode)) for part in parts]
    if mode == "multi":
        assert run.missing == 16 - sum(there)
    (sentence,) = said
    missing = (16 if mode == "multi" else 8) - sum(there)
    holds = f"({parts[0]} holds {there[0]}, {parts[1]} holds {there[1]})"
    assert sentence.startswith(f"{mode}-t0.2: {missing} or more samples are missing of 4 a case {holds}; ")
    draw(tmp_path / "merged", mtpb, Listed(mixed), (mode,), n=4)  # this and the next line are what it advises
    two_parts(tmp_path, mtpb, mode)
    said.clear()
    shards.merge(parts, tmp_path / "again", said.append)
    assert said == []
    for folder in ("merged", "again"):
        assert grade(tmp_path / folder, mtpb, "strict")[mode, "strict"].missing == 0
    assert files(tmp_path / "merged") == files(tmp_path / "again")


def two_parts(folder: Path, benchmark: Benchmark, mode: Mode) -> list[Path]:
    """Two shards, as far as they were not drawn before."""
    parts = [folder / "part0", folder / "part1"]
    for number, part in enumerate(parts):
        draw(part, benchmark, Listed(mixed), (mode,), n=4, shard=f"{number}/2")
    return parts


def whole_samples(folder: Path, mode: Mode) -> set[Key]:
    return {sample.key._replace(turn=0) for sample in read_samples(samples_path(folder, mode, 0.2))}


def test_a_graded_shard_knows_the_cases_that_no_shard_holds(tmp_path: Path, mtpb: Benchmark) -> None:
    parts = [tmp_path / "part0", tmp_path / "part1"]
    for number, part in enumerate(parts):
        draw(part, mtpb, Listed(), n=1, shard=f"{number}/2")
    samples_path(parts[1], "multi", 0.2).write_text("")
    grade(parts[0], mtpb, "strict")
    shards.merge(parts, tmp_path / "merged", said.append)
    there = len(whole_samples(parts[0], "multi"))
    assert said[-1].startswith(f"multi-t0.2: {4 - there} or more samples are missing of 1 a case")


def test_a_merge_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    with pytest.raises(UserError, match="file is a file; name a new folder"):
        shards.merge([], tmp_path / "file", said.append)
    assert (tmp_path / "file").read_text() == "dear"


def oracle_keys(folder: Path) -> list[Key]:
    return [sample.key for sample in read_samples(samples_path(folder, "oracle", 0.2))]


def test_a_merge_keeps_equal_samples_once_and_refuses_different_ones(tmp_path: Path, mtpb: Benchmark) -> None:
    parts = [tmp_path / "part0", tmp_path / "part1"]
    for number, part in enumerate(parts):
        draw(part, mtpb, Listed(mixed), n=3, shard=f"{number}/2")
    first, second = (samples_path(part, "multi", 0.2) for part in parts)
    line = first.read_text().splitlines()[0]
    second.write_text(second.read_text() + line + "\n")
    shards.merge(parts, tmp_path / "merged", said.append)
    assert len(list(read_samples(samples_path(tmp_path / "merged", "multi", 0.2)))) == 12
    before = files_there(tmp_path / "merged")
    with pytest.raises(UserError, match="not empty"):
        shards.merge(parts, tmp_path / "merged", said.append)
    assert files_there(tmp_path / "merged") == before
    second.write_text(second.read_text().replace(line, line.replace("xs", "ys")))
    with pytest.raises(UserError, match="hold different samples of task 1, case 1"):
        shards.merge(parts, tmp_path / "other", said.append)
    assert not (tmp_path / "other").exists()


def files_there(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
