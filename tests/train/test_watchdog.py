"""The watchdog: a hung step ends the process with the stacks of all threads."""

import time
from pathlib import Path

from small_run import start_child

from polyturn.train.watchdog import EXIT, watchdog


def test_a_hung_step_ends_the_process(tmp_path: Path) -> None:
    with start_child(tmp_path, data={"hang_at": 7}, config={"step_deadline": 2.0}) as child:
        _, said = child.communicate(timeout=120)
    assert child.returncode == EXIT
    assert "The batch of step 8 took longer than 2 s" in said
    stacks = (tmp_path / "stacks.txt").read_text()
    assert "small_run.py" in stacks  # the thread that hangs
    assert "loop.py" in stacks  # the one that waits for it
    assert "Thread" in said


def test_work_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    with watchdog(tmp_path / "stacks.txt") as dog:
        for n in range(20):
            dog.expect(f"Step {n}", 0.2)
            time.sleep(0.03)
    assert not (tmp_path / "stacks.txt").exists()
