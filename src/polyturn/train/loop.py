"""The training loop: from a configuration and packed rows to trained weights, through any number of kills.

A run lives in a folder: `run.json` (what it is), `metrics.jsonl` (how it went), `checkpoints/` (where it stands).
Calling `train` again on the folder carries on at the newest checkpoint and gives bitwise the losses that an
unbroken run gives, since batch k depends on the seed and k alone. Nothing waits for the device but the lines
of the log.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from math import isfinite
from pathlib import Path

import jax

from polyturn.data.batches import batch
from polyturn.data.packing import Rows
from polyturn.model.params import Params
from polyturn.train.checkpoints import checkpoints
from polyturn.train.config import TrainConfig
from polyturn.train.step import State, start, train_step
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError
from polyturn.utils.lock import hold

type Report = Callable[[dict[str, float]], None]
type Evaluate = Callable[[Params[jax.Array]], dict[str, float]]


def train(
    config: TrainConfig,
    rows: Rows,
    folder: Path,
    *,
    initial: Params[jax.Array] | None = None,
    evaluate: Evaluate | None = None,
    report: Report = lambda line: None,
    stop_after: float = float("inf"),
) -> State:
    """Run `config` to its last step, or until `stop_after` seconds have passed, and return the state.

    Args:
        rows: the training data, the same at every call for a folder.
        initial: weights to begin from instead of fresh ones (the hand-over from an earlier stage).
        evaluate: called at every checkpoint with the weights; what it returns is logged.
        report: gets every line of the log as it is written.

    Raises:
        UserError: the folder holds another run, or another process is at work in it.
    """
    busy = f"Another process is training in {folder}; wait for it or choose another folder."
    with hold(folder, busy), checkpoints(folder / "checkpoints") as saved:
        _claim(folder, config, rows)
        state = start(config, initial)
        state = saved.restore(state) or state
        with _log(folder / "metrics.jsonl", int(state.step), report) as write:
            return _steps(config, rows, state, saved.save, evaluate, write, stop_after)


def _steps(
    config: TrainConfig,
    rows: Rows,
    state: State,
    save: Callable[[State], None],
    evaluate: Evaluate | None,
    write: Report,
    stop_after: float,
) -> State:
    begun = mark = time.monotonic()
    saved_at = marked_at = step = int(state.step)
    while step < config.steps and time.monotonic() - begun < stop_after:
        state, metrics = train_step(config, state, batch(rows, config.seed, step, config.rows))
        step += 1
        last, save_now = step == config.steps, step % config.save_every == 0
        if step % config.log_every == 0 or last:
            line = {"step": step} | _numbers(metrics, step)  # waits for the device
            now = time.monotonic()
            tokens = (step - marked_at) * config.rows * rows.tokens.shape[1]
            write(line | {"tokens_per_s": tokens / (now - mark)})
            mark, marked_at = now, step
        if save_now or last:
            _numbers(metrics, step)  # nothing broken is saved
            if evaluate is not None:  # before saving: after a kill here the step is taken, and looked at, again
                write({"step": step} | evaluate(state.params))
                mark, marked_at = time.monotonic(), step
            save(state)
            saved_at = step
    if saved_at != step:
        save(state)
    return state


def _numbers(metrics: dict[str, jax.Array], step: int) -> dict[str, float]:
    """The metrics of a step as numbers. Raises UserError where one is not finite."""
    numbers = {name: float(value) for name, value in metrics.items()}
    bad = [name for name, value in numbers.items() if not isfinite(value)]
    if bad:
        raise UserError(
            f"The {bad[0].replace('_', ' ')} of step {step} is not finite; lower the learning rate and start in a new "
            "folder, or go on from the newest checkpoint here, which is sound, with other data."
        )
    return numbers


def _claim(folder: Path, config: TrainConfig, rows: Rows) -> None:
    """Write down what this run is, or check that the folder's run is the same one."""
    mine = {"settings": asdict(config), "data": rows.digest(), "backend": jax.default_backend()}
    path = folder / "run.json"
    if not path.exists():
        write_text(path, json.dumps(mine, indent=2) + "\n")
        return
    theirs = json.loads(path.read_text())
    for run in (mine, theirs):
        for cadence in ("log_every", "save_every"):
            run["settings"].pop(cadence)
    other = [name for name in mine if mine[name] != theirs[name]]
    if other:
        raise UserError(f"{folder} holds a run with other {' and '.join(other)}; choose another folder or remove it.")


@contextmanager
def _log(path: Path, step: int, report: Report) -> Iterator[Report]:
    """Append lines to the log, after dropping those of steps that a kill has undone."""
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    write_text(path, "".join(line + "\n" for line in kept))
    with open(path, "a") as handle:

        def write(line: dict[str, float]) -> None:
            try:
                handle.write(json.dumps(line) + "\n")
                handle.flush()
            except OSError as error:
                raise UserError(f"Cannot write {path}: {error.strerror}; free some space and run again.") from error
            report(line)

        yield write
