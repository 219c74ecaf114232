"""The progress line of a training run."""

from collections.abc import Iterator
from contextlib import contextmanager

from polyturn.train.watch import Line, Report
from polyturn.utils.progress import Counter

SHOWN = ("loss", "gradient_norm", "rate", "tokens_per_s", "mfu", "validation_loss", "pass_rate")  # of a line of the log


@contextmanager
def progress(name: str, steps: int) -> Iterator[Report]:
    """What to hand to `train` as `report`: it shows each line of the log beside the steps done of `steps`."""
    with Counter(f"{name}: steps") as counter:

        def report(line: Line) -> None:
            note = "  ".join(f"{k} {v:,.4g}" for k, v in line.items() if k in SHOWN and not isinstance(v, str))
            counter.show(int(line["step"]), steps, note)

        yield report
