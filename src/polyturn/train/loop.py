"""The training loop: from a configuration and packed rows to trained weights, through any number of kills.

A run lives in a folder: `run.json` (what it is), `metrics.jsonl` (how it went), `checkpoints/` (where it stands).
Calling `train` again on the folder carries on at the newest whole checkpoint and gives bitwise the losses that an
unbroken run gives, since batch k depends on the seed and k alone. Nothing waits for the devices: the numbers of a step
are fetched some steps later, a thread has the next batches ready, another writes the checkpoints.

With several processes all of them run this same loop, only the first writes, and all return when it is done.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from polyturn.model.attention import choose
from polyturn.model.params import Params, check_mesh
from polyturn.parallel.rules import make_mesh
from polyturn.train import flops
from polyturn.train.checkpoints import Checkpoints, checkpoints
from polyturn.train.config import TrainConfig
from polyturn.train.feed import Checked, Source, feed, prefetch
from polyturn.train.fitting import check_memory
from polyturn.train.hosts import check_same, check_shared, decide, leads, tally
from polyturn.train.manifests import Manifest
from polyturn.train.meter import Meter
from polyturn.train.profiling import profiling
from polyturn.train.record import claim, identity
from polyturn.train.results import Results
from polyturn.train.step import State, abstract, mesh_shape, train_step
from polyturn.train.step import evaluate as mean_loss
from polyturn.train.step import start as first_state
from polyturn.train.stopping import stopping
from polyturn.train.watch import Report, Sink, log
from polyturn.train.watchdog import Watchdog, watchdog
from polyturn.utils.lock import hold

BEHIND = 4  # steps that may be under way on the devices while the host prepares the next
SELDOM_S = 3600.0  # at least so long for what happens seldom and may be slow: compiling, validation, saving
LINGER_S = 5.0  # the others of a job end with the leading process, and are to say first where they stood

type Evaluate = Callable[[Params[jax.Array]], dict[str, float]]


def train(
    config: TrainConfig,
    source: Source,
    folder: Path,
    *,
    initial: Callable[[], Params[Any]] | None = None,
    start: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    validation: Source | None = None,
    evaluate: Evaluate | None = None,
    report: Report = lambda line: None,
    sinks: Sequence[Sink] = (),
    stop_after: float = float("inf"),
    profile: int = 0,
) -> State:
    """Run `config` to its last step, or until `stop_after` seconds have passed, and return the state.

    SIGTERM or Ctrl-C ends the process with code 0 as soon as the steps under way are saved.

    Args:
        source: the training data, the same at every call for a folder.
        initial: gives the weights to begin from instead of fresh ones; called once, where there is no checkpoint yet.
        start: their digest, where the settings do not say which they are: another one is another run.
        recipe: what the settings are from, for `recipe.json`.
        validation: rows held out. The loss on their first `validation_batches` batches is logged.
        evaluate: gets the weights whenever validation is due, on every process; what it returns is logged. The arrays
            are gone with the next step.
        report: gets every line of the log as it is written.
        sinks: more places for the lines, such as `watch.tensorboard`.
        profile: leave a trace of so many steps.

    Raises:
        UserError: the attention asked for cannot run here, a step does not fit into the devices' memory, the folder
            holds another run, another process is at work in it, its disk is full, a token is outside the vocabulary,
            the loss stays broken, or the processes of a job do not agree in what they are to do or see other folders.
    """
    seldom = max(SELDOM_S, config.step_deadline)
    busy = f"Another process is training in {folder}; wait for it or choose another folder."
    with stopping(stop_after) as stop, ExitStack() as opened:
        # The devices.
        opened.enter_context(_mesh(config))
        check_mesh(config.model, mesh_shape())
        config.micro_rows(mesh_shape())  # refuses rows that do not share out
        asked, config = config, _with_attention(config, source)
        check_memory(replace(config, mesh=mesh_shape()), source.row)
        source = Checked(source, config)

        # The folder: ours alone, and of this run.
        decide(lambda: opened.enter_context(hold(folder, busy)))
        check_shared(folder)
        dog = opened.enter_context(_watchdog(folder))  # closed when all is on disk
        dog.expect("Looking at the run and its checkpoints", seldom)
        data = source.digest()
        check_same(
            {
                "settings": asdict(asked),
                "data": data,
                "validation data": validation and validation.digest(),
                "start": start,
                "evaluate": evaluate is not None,
                "profile": profile,
            }
        )
        record = decide(lambda: claim(folder, asked, data, start, recipe))
        # A first contact of all devices, now that no process is far behind: on CPUs it has a limit of 30 s.
        jax.device_get(tally([False, False]))

        # The state: the newest whole checkpoint's, or the first.
        policy = (config.keep_last, config.keep_every)
        saved = opened.enter_context(checkpoints(folder / "checkpoints", identity(record), *policy))
        found, warning = saved.newest()
        state = _begin(config, initial, saved, found)
        step = first = int(state.step)

        # What goes along with the steps.
        lines = opened.enter_context(log(folder, record["settings"], first, report, sinks, leads()))
        batches = opened.enter_context(prefetch(source, first, config.rows))
        trace = opened.enter_context(profiling(folder, first, profile))
        meter = _meter(config, source, record, found)
        results = Results(config, lines, meter, dog)
        last_save = time.monotonic()
        lines.say(f"{mesh_shape().size} x {jax.devices()[0].device_kind}, attention: {config.compute.attention}")
        if warning:
            lines.tell(first, warning)
        elif found:
            lines.say(f"Going on from step {first}.")

        def measure(step: int, state: State) -> None:
            dog.expect(f"Validation after step {step}", seldom)
            with meter.other("validation_s"):
                numbers = _validate(config, state, validation) | (evaluate(state.params) if evaluate else {})
            if numbers:
                lines.write({"step": step} | numbers)

        if found and _measured_after(config, first) and not decide(lambda: lines.measured):
            measure(first, state)  # the run was stopped between saving and measuring

        while step < config.steps and not results.stop:
            # A step: started here, finished some rounds later.
            dog.expect(f"The batch of step {step + 1}", config.step_deadline)
            with meter.data():
                batch = next(batches)
            if step == first:
                dog.expect("Compiling", seldom)
                with meter.other("compile_s"):
                    state, metrics = train_step(config, state, batch)
            else:
                state, metrics = train_step(config, state, batch)
            step += 1
            overdue = time.monotonic() - last_save >= 60 * (config.save_minutes or float("inf"))
            results.add(step, metrics, tally([stop.wanted, overdue and leads()]))
            saving = step % config.save_every == 0 or step == config.steps
            measuring = _measured_after(config, step)
            # All numbers first, where this step is more than a step: nothing broken is saved, the log is complete,
            # and a vote to stop that is among them is heard while there is still a save to come.
            results.fetch(0 if saving or measuring or trace.turns(step) else BEHIND)
            saved.check()

            if trace.turns(step):
                lines.say(trace.turn(step))

            if saving or results.save or results.stop:
                results.fetch(0)  # a vote was heard: the others
                dog.expect(f"Saving step {step}", seldom)
                with meter.other("checkpoint_s"):
                    lines.sync()
                    saved.save(state, step, {"tokens": step * meter.tokens, "useful_s": meter.useful})
                results.save, last_save = False, time.monotonic()

            if measuring and not results.stop:  # else when the run goes on
                measure(step, state)

        lines.say(trace.close(step))
        dog.expect("Writing the last checkpoint", seldom)
        saved.wait()
        if step < config.steps:
            lines.say(f"Stopped after step {step} of {config.steps}; run again to go on.")
    return state


def _with_attention(config: TrainConfig, source: Source) -> TrainConfig:
    """The configuration with the attention that this run gets. Raises UserError where it cannot be had."""
    compute, device = config.compute, jax.devices()[0]
    chosen = choose(
        compute.attention, device, config.model.head_width, source.row, compute.dtype, source.most_documents
    )
    return replace(config, compute=replace(compute, attention=chosen))


def _mesh(config: TrainConfig) -> AbstractContextManager[Any]:
    """The mesh of the run, put in force; one process on one device needs none, also where -1 makes it one."""
    if config.mesh.size == 1 and jax.process_count() == 1:
        return nullcontext()
    mesh = make_mesh(config.mesh)
    return jax.set_mesh(mesh) if mesh.size > 1 else nullcontext()


def _watchdog(folder: Path) -> AbstractContextManager[Watchdog]:
    """Of this process: each of a job writes its own stacks, the leading one goes last."""
    if leads():
        return watchdog(folder / "stacks.txt", LINGER_S if jax.process_count() > 1 else 0.0)
    return watchdog(folder / f"stacks-{jax.process_index()}.txt")


def _measured_after(config: TrainConfig, step: int) -> bool:
    """Whether validation is due after `step`."""
    return step % (config.validate_every or config.save_every) == 0 or step == config.steps


def _begin(
    config: TrainConfig, initial: Callable[[], Params[Any]] | None, saved: Checkpoints, found: Manifest | None
) -> State:
    """The state to go on from, on the mesh in force."""
    if found is None:
        return first_state(config, initial and jax.tree.map(lambda a: np.asarray(a, np.float32), initial()))
    return saved.load(found["step"], abstract(config))


def _meter(config: TrainConfig, source: Source, record: Mapping[str, Any], found: Manifest | None) -> Meter:
    kind, devices = jax.devices()[0].device_kind, mesh_shape().size
    share = partial(flops.utilisation, config.model, source.row, kind=kind, devices=devices)
    return Meter(config.rows * source.row, devices, record["began"], found["useful_s"] if found else 0.0, share)


def _validate(config: TrainConfig, state: State, source: Source | None) -> dict[str, float]:
    """The mean loss per position over a fixed number of batches: the same work on every host."""
    if source is None:
        return {}
    held = Checked(source, config)
    placed = (feed(held, n, config.rows) for n in range(config.validation_batches))
    return {"validation_loss": mean_loss(config, state.params, placed)}
