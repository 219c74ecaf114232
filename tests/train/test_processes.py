"""Two processes of one job, on one machine: they train together, stop together and refuse together."""

import signal
import socket
import subprocess
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from small_run import CONFIG, numbers, run, start_child

pytestmark = pytest.mark.slow

MESH = "data=2,fsdp=2"  # over two processes of two devices each


def start_job(
    folder: Path, *, second: dict[str, Any] | None = None, second_folder: Path | None = None, **options: Any
) -> list[subprocess.Popen[str]]:
    """Start both, the second with other options or in another folder if there are any."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        start_child(folder, **{"devices": 2, "mesh": MESH, "job": (address, 2, 0), **options}),
        start_child(
            second_folder or folder,
            **{"devices": 2, "mesh": MESH, "job": (address, 2, 1), **options, **(second or {})},
        ),
    ]


def finish(children: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """How each ended, and what it said on stderr."""
    try:
        said = [child.communicate(timeout=300)[1] for child in children]
    finally:
        for child in children:
            child.kill()
    return [(child.returncode, text) for child, text in zip(children, said, strict=True)]


def test_two_processes_train_together(tmp_path: Path) -> None:
    """The log of two processes is the log of one with as many devices."""
    ended = finish(start_job(tmp_path / "two"))
    assert [code for code, _ in ended] == [0, 0], ended
    (one,) = [start_child(tmp_path / "one", devices=4, mesh=MESH)]
    assert finish([one])[0][0] == 0
    pairs = zip(numbers(tmp_path / "two"), numbers(tmp_path / "one"), strict=True)
    for ours, alone in pairs:
        assert ours == pytest.approx(alone, rel=1e-2)
    assert len(numbers(tmp_path / "two")) == CONFIG.steps // CONFIG.log_every + CONFIG.steps // CONFIG.save_every


def test_a_signal_to_one_stops_both_after_the_same_step(tmp_path: Path) -> None:
    children = start_job(tmp_path, data={"pause_s": 0.1})
    assert children[0].stdout is not None
    children[0].stdout.readline()
    children[1].send_signal(signal.SIGTERM)  # not the one that writes
    ended = finish(children)
    assert [code for code, _ in ended] == [0, 0], ended
    steps = [int(path.stem) for path in (tmp_path / "checkpoints").glob("*.json")]
    assert 2 <= max(steps) < CONFIG.steps
    last = run(tmp_path)  # one process, one device
    assert int(last.step) == CONFIG.steps
    assert [line["step"] for line in numbers(tmp_path) if "loss" in line] == list(range(2, 25, 2))


def test_a_stop_that_is_heard_where_only_validation_is_due_is_saved(tmp_path: Path) -> None:
    """The votes of a step are read with its numbers, which validation asks for after the moment to save."""
    ended = finish(start_job(tmp_path, stop_after=0.0, config={"validate_every": 2, "save_every": CONFIG.steps}))
    assert [code for code, _ in ended] == [0, 0], ended
    assert [path.name for path in (tmp_path / "checkpoints").glob("*.json")] == ["2.json"]


def test_what_one_refuses_both_do(tmp_path: Path) -> None:
    run(tmp_path, stop_after=0.0)
    ended = finish(start_job(tmp_path, config={"seed": 1}))
    assert_both_say(ended, "holds a run with other settings")


def assert_both_say(ended: list[tuple[int, str]], sentence: str) -> None:
    """Both end as for a user's mistake and tell it, without a traceback or JAX's own words."""
    for code, said in ended:
        assert code == 2, said
        assert sentence in said
        assert "Traceback" not in said
        assert "coordination" not in said


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_of_one_amid_training_ends_both(tmp_path: Path, broken: int) -> None:
    """All devices have the same rows, and one process reads others: it fails where the other is in a collective."""
    read: list[dict[str, Any]] = [{}, {}]
    read[broken] = {"bad_at": 7}
    children = start_job(tmp_path, mesh="tensor=4", data=read[0], second={"data": read[1]})
    assert_both_say(finish(children), "hold token 64")


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({"config": {"z_loss": 0.5}}, "another settings.z_loss than process 0"),
        ({"data": {"seed": 7}}, "another data than process 0"),
    ],
)
def test_processes_that_differ_are_refused(tmp_path: Path, differs: dict[str, Any], said: str) -> None:
    assert_both_say(finish(start_job(tmp_path, second=differs)), said)
    assert not (tmp_path / "run.json").exists()


def test_an_error_of_one_before_training_ends_both(tmp_path: Path) -> None:
    """The second process alone finds that the run does not share out among its devices."""
    ended = finish(start_job(tmp_path, second={"config": {"rows": 7}}))
    assert_both_say(ended, "7 rows")


def test_a_folder_that_is_not_shared_is_refused(tmp_path: Path) -> None:
    """Also one that was copied, and is the same in all but the place."""
    run(tmp_path / "one", stop_after=0.0)
    copytree(tmp_path / "one", tmp_path / "two")
    before = sorted(tmp_path.rglob("*"))
    ended = finish(start_job(tmp_path / "one", second_folder=tmp_path / "two"))
    assert_both_say(ended, "Not all processes of the job see the same")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_hung_step_leaves_the_stacks_of_every_process(tmp_path: Path) -> None:
    """The second process hangs; the first waits for it, and would take it along before it has said where it stands."""
    config = {"step_deadline": 12.0}  # a process that still compiles is late for the first step of the other
    ended = finish(start_job(tmp_path, config=config, second={"data": {"hang_at": 7}, "config": config}))
    assert [code for code, _ in ended] == [3, 3], ended
    assert "fetch" in (tmp_path / "stacks.txt").read_text()
    assert "small_run.py" in (tmp_path / "stacks-1.txt").read_text()
    assert "in batch" in (tmp_path / "stacks-1.txt").read_text()
