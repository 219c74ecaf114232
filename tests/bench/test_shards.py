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
    assert "This is shard 1/2, a part of the run; `polyturn bench merge`" in capsys.readouterr().err


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
