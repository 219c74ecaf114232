"""The numbers of steps, fetched some steps late, and what a run does about them: log, skip, give up, stop, save.

Fetching a number waits for its step. Were it done at once, the devices would stand still until the host had prepared
the next step; done later, there is always work waiting for them.
"""

from collections import deque
from math import isfinite
from typing import Any

import jax

from polyturn.train.config import TrainConfig
from polyturn.train.meter import Meter
from polyturn.train.watch import Log
from polyturn.train.watchdog import Watchdog
from polyturn.utils.errors import UserError

REMEDY = (
    "begin anew in another folder, with a lower learning rate or another seed: from fresh weights or, where the recipe "
    "reads shards, by --start with what `polyturn train export` makes of the newest checkpoint here."
)


class Results:
    """Steps under way, oldest first. `stop` and `save` say what some process of the job wanted."""

    def __init__(self, config: TrainConfig, lines: Log, meter: Meter, dog: Watchdog) -> None:
        self._config, self._lines, self._meter, self._dog = config, lines, meter, dog
        self._waiting: deque[tuple[int, dict[str, jax.Array], Any]] = deque()
        self.stop = self.save = False

    def add(self, step: int, metrics: dict[str, jax.Array], votes: Any) -> None:
        """Take in a step that has just been started: its metrics, and the votes to stop and to save (`hosts.tally`)."""
        if jax.process_count() == 1:
            self._count(votes)  # nobody else to wait for
        self._waiting.append((step, metrics, votes))

    def fetch(self, most: int) -> None:
        """Wait until at most `most` steps are under way.

        Raises:
            UserError: too many updates in a row were skipped, or the weights themselves are not finite.
        """
        while len(self._waiting) > most:
            step, metrics, votes = self._waiting.popleft()
            self._dog.expect(f"Step {step}", self._config.step_deadline)
            numbers = {name: float(value) for name, value in jax.device_get(metrics).items()}
            self._meter.finished()
            self._count(jax.device_get(votes))
            self._guard(step, numbers)
            if step % self._config.log_every == 0 or step == self._config.steps:
                self._lines.write({"step": step, "tokens": step * self._meter.tokens} | numbers | self._meter.line())

    def _count(self, votes: Any) -> None:
        stop, save = (bool(count) for count in votes)
        self.stop, self.save = self.stop or stop, self.save or save

    def _guard(self, step: int, numbers: dict[str, float]) -> None:
        """Tell of an update that was skipped, and give up where skipping does not help."""
        if not isfinite(numbers["parameter_norm"]):  # no skipping helps any more
            raise UserError(f"The weights after step {step} are not finite; {REMEDY}")
        if numbers["skipped"] and not numbers["targets"]:
            self._lines.tell(step, f"The update of step {step} was skipped: no position of its batch counts.")
        elif numbers["skipped"]:
            broken = [name for name in ("loss", "gradient_norm") if not isfinite(numbers[name])]
            spike = f"its loss {numbers['loss']:.4g} is a spike"
            why = f"its {broken[0].replace('_', ' ')} is not finite" if broken else spike
            row = int(numbers["skipped_in_a_row"])
            self._lines.tell(step, f"The update of step {step} was skipped: {why} ({row} in a row).")
            if row >= self._config.guard.patience:
                raise UserError(f"{row} updates in a row were skipped, the last at step {step} since {why}; {REMEDY}")
