"""The log of a run: `metrics.jsonl` always, TensorBoard and Weights & Biases on request.

    train(..., sinks=[tensorboard, weights_and_biases("my-project")])

A line is one JSON object with its `step`. Resuming takes the lines off that the last kill has undone, so that the log
of a run that was killed and resumed says the same as that of one that never was. Numbers that are not finite become
null.
"""

import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError

type Line = dict[str, float | str]
type Report = Callable[[Line], None]
type Sink = Callable[[Path, Mapping[str, Any], int], AbstractContextManager[Report]]
"""Opens a place for lines: from the run's folder, its settings and the step it goes on from."""


class Log:
    """Where the lines of a run go. `report` gets every line too, and a process that does not lead has no file.

    Attributes:
        measured: whether the log, as it was opened, had what was measured after its last step.
    """

    def __init__(self, path: Path, file: TextIO | None, reports: Sequence[Report], measured: bool = False) -> None:
        self._path, self._file, self._reports = path, file, reports
        self.measured = measured

    def write(self, line: Line) -> None:
        """Write a line. Raises UserError where the disk is full."""
        if self._file is None:
            return
        sound = {k: v if isinstance(v, str) or isfinite(v) else None for k, v in line.items()}
        with _disk(self._path):
            self._file.write(json.dumps(sound) + "\n")
            self._file.flush()
        for report in self._reports:
            report(line)

    def say(self, text: str | None) -> None:
        """Tell the user something on stderr, if there is something."""
        if text and self._file is not None:
            print(text, file=sys.stderr, flush=True)

    def tell(self, step: int, event: str) -> None:
        """Say something that happened, and write it down."""
        self.say(event)
        self.write({"step": step, "event": event})

    def sync(self) -> None:
        """Have all lines on the disk, as a checkpoint that counts on them asks for."""
        if self._file is not None:
            with _disk(self._path):
                os.fsync(self._file.fileno())


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}; free some space and run again.") from error


@contextmanager
def log(
    folder: Path, settings: Mapping[str, Any], step: int, report: Report, sinks: Sequence[Sink], leads: bool
) -> Iterator[Log]:
    """Open the log of a run that goes on from `step`.

    Args:
        report: gets every line as it is written.
        sinks: other places for the lines.
        leads: whether this process writes; the others of a job do not.

    Raises:
        UserError: a sink needs a package that is not installed.
    """
    path = folder / "metrics.jsonl"
    if not leads:
        yield Log(path, None, [])
        return
    with ExitStack() as stack:
        others = [stack.enter_context(sink(folder, settings, step)) for sink in sinks]
        lines = path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if _counts(line, step)]
        write_text(path, "".join(kept))
        measured = any(_is_measured(json.loads(line), step) for line in kept)
        file = open(path, "a")  # noqa: SIM115 (`_close` does it)
        stack.callback(_close, path, file)
        yield Log(path, file, [report, *others], measured)


def _close(path: Path, file: TextIO) -> None:
    with _disk(path):  # what a full disk has not taken is tried once more
        file.close()


def _counts(line: str, step: int) -> bool:
    """Whether a line is whole and no later than `step`."""
    try:
        return line.endswith("\n") and json.loads(line)["step"] <= step
    except (ValueError, KeyError, TypeError):
        return False


def _is_measured(line: Line, step: int) -> bool:
    """Whether a line has what was measured after `step`: it is neither a step's own nor an event."""
    return line["step"] == step and "loss" not in line and "event" not in line


@contextmanager
def tensorboard(folder: Path, settings: Mapping[str, Any], step: int) -> Iterator[Report]:
    """Lines for TensorBoard in `folder`/tensorboard; the settings as text. Undone steps are hidden there."""
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise UserError(
            "Logs for TensorBoard need the package tensorboardX; install it with pip install tensorboardX."
        ) from None
    own = f".{step:09}"  # else writers of the same second have one name, and the first one's file is lost
    place = str(folder / "tensorboard")
    with SummaryWriter(place, purge_step=step + 1, flush_secs=10, filename_suffix=own) as writer:
        writer.add_text("settings", f"```\n{json.dumps(settings, indent=2)}\n```", step)

        def write(line: Line) -> None:
            at = int(line["step"])
            for name, value in line.items():
                if isinstance(value, str):
                    writer.add_text(name, value, at)
                elif name != "step":
                    writer.add_scalar(name, value, at)

        yield write


def weights_and_biases(project: str) -> Sink:
    """A sink that sends lines to a project on Weights & Biases, as one run through all resumes."""

    @contextmanager
    def sink(folder: Path, settings: Mapping[str, Any], step: int) -> Iterator[Report]:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            raise UserError(
                "Logs on Weights & Biases need the package wandb; install it with pip install wandb."
            ) from None
        name = folder / "wandb_id"
        if not name.exists():
            write_text(name, uuid.uuid4().hex[:16])
        try:
            run = wandb.init(
                project=project,
                id=name.read_text(),
                name=folder.name,
                dir=folder,
                resume="allow",
                config=dict(settings),
            )
        except wandb.Error as error:
            raise UserError(
                f"Weights & Biases refused ({error}); run `wandb login`, or set WANDB_MODE=offline."
            ) from error
        code = 1
        try:
            # A step that was sent before the kill is refused there, which loses nothing: its numbers are the same.
            yield lambda line: run.log({k: v for k, v in line.items() if k != "step"}, step=int(line["step"]))
            code = 0
        finally:
            run.finish(exit_code=code)

    return sink
