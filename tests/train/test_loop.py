"""The loop: exact through kills and stops, complete in its log, and clear about what it refuses."""

import json
import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import CONFIG, events, log, numbers, rows, run, same, source, start_child

from polyturn.data.sampler import InOrder, Mixture
from polyturn.parallel.mesh import MeshShape
from polyturn.train import loop
from polyturn.train.step import State, evaluate_batch, start
from polyturn.utils.errors import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[State, Path]:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return run(folder), folder


@pytest.mark.slow
def test_kills_change_nothing(tmp_path: Path, whole: tuple[State, Path]) -> None:
    """kill -9 at random moments, again and again: bitwise the losses, the log and the weights of an unbroken run."""
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    rng = random.Random(seed)
    kills = 0
    while kills < 3:
        with start_child(tmp_path / "killed", data={"pause_s": 0.02}) as child:
            assert child.stdout is not None
            for _, _line in zip(range(rng.randint(1, 4)), child.stdout, strict=False):
                pass
            time.sleep(rng.random() * 0.2)
            child.kill()
        kills += child.returncode == -signal.SIGKILL
        assert child.returncode in (0, -signal.SIGKILL)
    last = run(tmp_path / "killed")
    assert same(last, whole[0])
    assert numbers(tmp_path / "killed") == numbers(whole[1])
    steps = [line["step"] for line in numbers(tmp_path / "killed") if "loss" in line]
    assert steps == list(range(2, 25, 2))
    assert sum("validation_loss" in line for line in log(tmp_path / "killed")) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_0(tmp_path: Path, whole: tuple[State, Path], number: signal.Signals) -> None:
    with start_child(tmp_path, data={"pause_s": 0.1}) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.send_signal(number)
        _, said = child.communicate(timeout=120)
    assert child.returncode == 0
    assert f"{number.name}: stopping after the steps under way" in said
    saved = max(int(path.stem) for path in (tmp_path / "checkpoints").glob("*.json"))
    assert 2 <= saved < CONFIG.steps
    assert same(run(tmp_path), whole[0])
    assert numbers(tmp_path) == numbers(whole[1])


def test_a_signal_in_the_last_step_is_not_lost(tmp_path: Path) -> None:
    """The stage is done, but whoever called for its end must not see the next stage begin."""

    def last(_: Any) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    with pytest.raises(SystemExit) as ended:
        run(tmp_path, replace(CONFIG, validate_every=CONFIG.steps), evaluate=last)
    assert ended.value.code == 0
    assert (tmp_path / "checkpoints" / f"{CONFIG.steps}.json").exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_stopping_in_time_and_going_on(tmp_path: Path, whole: tuple[State, Path]) -> None:
    part = run(tmp_path, stop_after=0.0)
    assert int(part.step) < CONFIG.steps
    assert same(run(tmp_path), whole[0])
    assert numbers(tmp_path) == numbers(whole[1])


def test_a_finished_run_is_not_run_again(whole: tuple[State, Path]) -> None:
    before = (whole[1] / "metrics.jsonl").read_bytes()
    assert same(run(whole[1]), whole[0])
    assert (whole[1] / "metrics.jsonl").read_bytes() == before


def test_other_cadences_are_the_same_run(tmp_path: Path, whole: tuple[State, Path]) -> None:
    run(tmp_path, stop_after=0.0)
    often = replace(CONFIG, log_every=1, save_every=5, keep_last=1, keep_every=10, validate_every=7)
    assert same(run(tmp_path, often), whole[0])
    assert sorted(int(p.stem) for p in (tmp_path / "checkpoints").glob("*.json")) == [10, 20, 24]


def test_going_on_on_another_mesh(tmp_path: Path, whole: tuple[State, Path]) -> None:
    """One device, then eight, then one again: the same rows, and the losses of one device up to rounding."""
    run(tmp_path, stop_after=0.0)
    eight = replace(CONFIG, mesh=MeshShape(data=2, fsdp=2, tensor=2))
    stop_at_12 = lambda line: "loss" in line and line["step"] == 12 and os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    with pytest.raises(SystemExit):
        run(tmp_path, eight, report=stop_at_12)
    last = run(tmp_path)
    assert int(last.step) == CONFIG.steps
    for ours, one in zip(numbers(tmp_path), numbers(whole[1]), strict=True):
        assert ours["step"] == one["step"]
        assert ours.get("targets") == one.get("targets")
        assert ours.get("loss", 0.0) == pytest.approx(one.get("loss", 0.0), rel=2e-2)  # bfloat16
    for mesh in (MeshShape(data=3), MeshShape(tensor=8)):
        with pytest.raises(UserError, match=r"does not fit 8 devices|do not divide"):
            run(tmp_path, replace(CONFIG, mesh=mesh))


def test_saving_by_the_clock(tmp_path: Path) -> None:
    """Every few milliseconds, that is at every step; the steps of the policy are far away."""
    seen: list[set[str]] = []
    spy = lambda _: seen.append({path.stem for path in (tmp_path / "checkpoints").glob("*.json")})  # noqa: E731
    run(tmp_path, replace(CONFIG, steps=21, save_every=500, save_minutes=1e-6, log_every=1), report=spy)
    assert len(set.union(*seen)) > 5


def test_every_line_of_the_log_says_how_fast(whole: tuple[State, Path]) -> None:
    lines = [json.loads(line) for line in (whole[1] / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    fields = "tokens tokens_per_s tokens_per_s_per_device step_ms step_ms_p95 data_wait_ms peak_memory_bytes goodput"
    for line in steps:
        assert set(fields.split()) < set(line)
        assert line["tokens"] == line["step"] * CONFIG.rows * 33
        assert line["tokens_per_s"] == pytest.approx(line["tokens_per_s_per_device"])  # one device
        assert line["step_ms"] <= line["step_ms_p95"] * (1 + 1e-9)
        assert 0 < line["goodput"] < 1
    assert "compile_s" in steps[0]
    assert any("checkpoint_s" in line for line in steps)


def test_validation_counts_every_row_once(whole: tuple[State, Path]) -> None:
    """The fixed number of batches is padded with rows that do not count."""
    held = rows(20)
    assert len(held) % CONFIG.rows
    total = count = 0.0
    for n in range(len(held)):
        one = InOrder(held).batch(n, 1)
        loss, weights = evaluate_batch(CONFIG, whole[0].params, one)
        total, count = total + float(loss), count + float(weights)
    last = [line["validation_loss"] for line in numbers(whole[1]) if "validation_loss" in line][-1]
    assert last == pytest.approx(total / count, rel=1e-3)


def test_evaluation_by_the_recipe_is_logged(tmp_path: Path) -> None:
    run(tmp_path, replace(CONFIG, validate_every=12), evaluate=lambda params: {"sum": float(params.norm_scale.sum())})
    assert [line["step"] for line in log(tmp_path) if "sum" in line] == [12, 24]


def test_what_fails_while_measuring_loses_no_step_and_is_made_up_for(tmp_path: Path, whole: tuple[State, Path]) -> None:
    def failing(params: Any) -> dict[str, float]:
        raise UserError("No sandbox here.")

    with pytest.raises(UserError, match="No sandbox"):
        run(tmp_path, evaluate=failing)
    assert [path.name for path in (tmp_path / "checkpoints").glob("*.json")] == ["6.json"]
    assert same(run(tmp_path), whole[0])
    assert numbers(tmp_path) == numbers(whole[1])


def test_a_mesh_that_does_not_divide_the_model_is_told(tmp_path: Path) -> None:
    model = replace(CONFIG.model, vocab=65)
    with pytest.raises(UserError, match="8 devices along tensor"):
        run(tmp_path, replace(CONFIG, model=replace(model, heads=8), mesh=MeshShape(tensor=8)))


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    run(tmp_path, stop_after=0.0)
    with pytest.raises(UserError, match="other settings"):
        run(tmp_path, replace(CONFIG, seed=1))
    with pytest.raises(UserError, match="other data"):
        run(tmp_path, source=source(100), recipe={"name": "another"})
    with pytest.raises(UserError, match="other start"):
        run(tmp_path, initial=lambda: start(CONFIG).params, start="digest")
    assert not (tmp_path / "recipe.json").exists()  # nothing is said of a run that was refused
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        run(tmp_path)


def test_a_run_goes_on_from_the_weights_it_began_with(tmp_path: Path) -> None:
    """They are asked for once, and other ones are another run; so are none."""
    asked: list[int] = []

    def weights() -> Any:
        asked.append(1)
        return start(CONFIG).params

    run(tmp_path, initial=weights, start="one", stop_after=0.0)
    assert int(run(tmp_path, initial=weights, start="one", stop_after=0.0).step) > 1
    assert len(asked) == 1
    for other in ("other", None):
        with pytest.raises(UserError, match="other start"):
            run(tmp_path, initial=weights, start=other)


def test_records_and_manifests_that_know_no_start(tmp_path: Path) -> None:
    """Those of earlier versions: their runs began with fresh weights, or with what the recipe says."""
    run(tmp_path, stop_after=0.0)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record.pop("start") is None
    assert record.pop("xla_flags") == os.environ.get("XLA_FLAGS", "")
    (tmp_path / "run.json").write_text(json.dumps(record))
    path = next((tmp_path / "checkpoints").glob("*.json"))
    manifest = json.loads(path.read_text())
    del manifest["start"], manifest["sha256"]
    path.write_text(json.dumps(manifest))
    assert int(run(tmp_path, stop_after=0.0).step) == manifest["step"] + 1
    assert not events(tmp_path)


def test_a_folder_without_a_checkpoint_binds_nobody(tmp_path: Path) -> None:
    """A run that failed before its first leaves its folder for corrected settings; what it left half-written goes."""

    def missing(*_: Any) -> Any:
        raise UserError("The package is not installed.")

    with pytest.raises(UserError, match="not installed"):
        run(tmp_path, replace(CONFIG, seed=1), sinks=[missing])
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    left = [tmp_path / ".metrics.jsonl.0123abcd.part", tmp_path / "checkpoints" / ".6.json.0123abcd.part"]
    for path in left:
        path.write_text("half")
    run(tmp_path, stop_after=0.0, recipe={"name": "small"})
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["seed"] == CONFIG.seed
    assert json.loads((tmp_path / "recipe.json").read_text()) == {"name": "small"}
    assert not any(path.exists() for path in left)


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with start_child(tmp_path, data={"hang_at": 10}) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(UserError, match="Another process"):
            run(tmp_path)
        child.kill()


def test_a_broken_loss_stops_the_run_and_is_not_saved(tmp_path: Path) -> None:
    broken = jax.tree.map(lambda a: a * jnp.nan, start(CONFIG).params)
    with pytest.raises(UserError, match="weights after step 1 are not finite"):
        run(tmp_path, initial=lambda: broken)
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


def test_skipped_updates_are_told_and_too_many_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a step that refuses updates: one in the middle, and then all from step 9 on."""
    row = 0

    def refusing(config, state, batch):
        nonlocal row
        step = int(state.step) + 1
        skipped = step == 4 or step > 8
        row = row + 1 if skipped else 0
        loss = float("nan") if step == 4 else 50.0
        numbers = {"loss": loss, "gradient_norm": 1.0, "parameter_norm": 1.0, "targets": 9.0}
        numbers |= {"skipped": float(skipped), "skipped_in_a_row": float(row)}
        return replace(state, step=state.step + 1), {name: jnp.float32(value) for name, value in numbers.items()}

    monkeypatch.setattr(loop, "train_step", refusing)
    with pytest.raises(UserError, match="10 updates in a row were skipped, the last at step 18"):
        run(tmp_path)
    told = events(tmp_path)
    assert told[0] == "The update of step 4 was skipped: its loss is not finite (1 in a row)."
    assert told[1] == "The update of step 9 was skipped: its loss 50 is a spike (1 in a row)."
    assert len(told) == 11
    assert [line["loss"] for line in numbers(tmp_path) if line["step"] == 4] == [None]  # JSON has no NaN


def test_a_token_outside_the_vocabulary_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hold token 64 and the model's vocabulary has 64 rows"):
        run(tmp_path, source=source(vocab=65))


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, whole: tuple[State, Path]) -> None:
    """A real full disk, where this test may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this test needs the right to mount a file system")
    try:
        with pytest.raises(UserError, match="free some space"):
            run(folder)
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        assert same(run(folder), whole[0])
        assert numbers(folder) == numbers(whole[1])
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_data_are_read_ahead_and_errors_of_the_thread_arrive(tmp_path: Path) -> None:
    class Failing(Mixture):
        def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Any:
            if step == 5:
                raise UserError("The file of rows has gone.")
            return super().batch(step, size, host, hosts)

    with pytest.raises(UserError, match="has gone"):
        run(tmp_path, source=Failing([(rows(), 1)], 0))


def test_the_state_of_a_hand_over_is_the_weights_given(tmp_path: Path) -> None:
    """Weights of an earlier stage, as numpy arrays of another float type: the optimiser and the step are fresh."""
    weights = jax.tree.map(lambda a: np.asarray(a * 2), start(CONFIG).params)
    state = run(tmp_path, initial=lambda: weights, stop_after=0.0)
    assert int(state.step) == 1
    assert np.abs(np.asarray(state.params.head) - weights.head).max() < 1e-3  # one step of warm-up away


def test_a_trace_ends_with_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells how many steps it has; an error ends it too, and the next run can trace again."""

    class Failing(Mixture):
        def batch(self, step: int, size: int, host: int = 0, hosts: int = 1) -> Any:
            if step == 7:
                raise UserError("The file of rows has gone.")
            return super().batch(step, size, host, hosts)

    with pytest.raises(UserError, match="has gone"):
        run(tmp_path / "one", source=Failing([(rows(), 1)], 0), profile=9)
    run(tmp_path / "other", replace(CONFIG, steps=21, save_every=21, validate_every=21), profile=20)
    assert "The trace of 16 steps is in" in capsys.readouterr().err


def test_a_trace_of_some_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str], whole: tuple[State, Path]) -> None:
    assert same(run(tmp_path, profile=3), whole[0])
    assert len(list((tmp_path / "profile").rglob("*.xplane.pb"))) == 1
    said = capsys.readouterr().err
    assert f"The trace of 3 steps is in {tmp_path / 'profile'}" in said
    assert "xprof" in said


def test_an_axis_of_all_devices_where_there_is_one(tmp_path: Path, whole: tuple[State, Path]) -> None:
    child = start_child(tmp_path, devices=1, mesh="tensor=-1")
    assert "Traceback" not in child.communicate(timeout=300)[1]
    assert child.returncode == 0
    assert numbers(tmp_path) == numbers(whole[1])
