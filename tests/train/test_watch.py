"""Places for the lines of a log: the file, TensorBoard, Weights & Biases."""

import json
import resource
import struct
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from small_run import run

from polyturn.train.watch import Line, log, tensorboard, weights_and_biases
from polyturn.utils.errors import UserError


def write_lines(folder: Path, step: int, lines: list[Line], *sinks: Any) -> None:
    with log(folder, {"seed": 1}, step, lambda line: None, sinks, leads=True) as opened:
        for line in lines:
            opened.write(line)


def test_lines_of_undone_steps_and_half_lines_go(tmp_path: Path) -> None:
    write_lines(tmp_path, 0, [{"step": n, "loss": 1.0} for n in range(1, 6)])
    with open(tmp_path / "metrics.jsonl", "a") as handle:
        handle.write('{"step": 2, "lo')
    write_lines(tmp_path, 3, [{"step": 4, "loss": float("inf")}])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 1.0), (3, 1.0), (4, None)]


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    seen: list[Line] = []
    with log(tmp_path, {}, 0, seen.append, [], leads=False) as opened:
        opened.tell(1, "something")
        opened.sync()
    assert not seen
    assert not list(tmp_path.iterdir())


class FakeRun:
    def __init__(self, **settings: Any) -> None:
        self.settings, self.lines, self.code = settings, [], None

    def log(self, numbers: dict[str, Any], step: int) -> None:
        self.lines.append((step, numbers))

    def finish(self, exit_code: int) -> None:
        self.code = exit_code


def test_weights_and_biases_is_one_run_through_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[FakeRun] = []

    def init(**settings: Any) -> FakeRun:
        runs.append(FakeRun(**settings))
        return runs[-1]

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Error=RuntimeError))
    sink = weights_and_biases("project")
    write_lines(tmp_path, 0, [{"step": 1, "loss": 2.0}], sink)
    with pytest.raises(KeyError):
        write_lines(tmp_path, 1, [{"step": 2, "loss": 1.0}, {"loss": 3.0}], sink)
    assert runs[0].settings["id"] == runs[1].settings["id"]
    assert runs[0].settings["config"] == {"seed": 1}
    assert [run.lines for run in runs] == [[(1, {"loss": 2.0})], [(2, {"loss": 1.0})]]
    assert [run.code for run in runs] == [0, 1]


@pytest.mark.parametrize(
    ("module", "sink"),
    [("tensorboardX", tensorboard), ("wandb", weights_and_biases("p"))],
    ids=["tensorboard", "wandb"],
)
def test_a_missing_package_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, sink: Any
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # import raises ModuleNotFoundError
    with pytest.raises(UserError, match=f"pip install {module}"):
        run(tmp_path, sinks=[sink])


def test_a_file_that_may_not_grow_is_one_sentence(tmp_path: Path) -> None:
    """The line that did not go to the disk must not fail again, in Python's own words, when the log is closed."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(UserError, match="free some space"):
            write_lines(tmp_path, 0, [{"step": step, "loss": 1.0} for step in range(1, 20)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_tensorboard_gets_numbers_and_text(tmp_path: Path) -> None:
    event_pb2: ModuleType = pytest.importorskip("tensorboardX.proto.event_pb2")
    write_lines(tmp_path, 0, [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}], tensorboard)
    write_lines(tmp_path, 1, [{"step": 2, "loss": 1.25, "event": "resumed"}], tensorboard)
    scalars, purges = [], []
    for file in sorted((tmp_path / "tensorboard").iterdir()):
        content, at = file.read_bytes(), 0
        while at < len(content):  # TFRecord: length, its checksum, the event, its checksum
            (size,) = struct.unpack_from("<Q", content, at)
            event = event_pb2.Event.FromString(content[at + 12 : at + 12 + size])
            at += 16 + size
            scalars += [(event.step, v.tag, v.simple_value) for v in event.summary.value if v.tag == "loss"]
            purges += [event.step] if event.session_log.status else []
    assert sorted(scalars) == [(1, "loss", 2.0), (2, "loss", 1.25), (2, "loss", 1.5)]
    assert purges == [1, 2]  # TensorBoard hides what an earlier file says of these steps and later ones
