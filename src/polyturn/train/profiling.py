"""A trace of a few steps, for looking at what the devices do: `polyturn train ... --profile 5`.

    pip install xprof && xprof --logdir RUN/profile        # in a browser, by operation and by time

or drop the `.trace.json.gz` that lies deep in the folder on https://ui.perfetto.dev.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

WARM = 5  # steps before the trace: the first compiles, and the next ones fill the queue


class Profile:
    """Traces `steps` steps after `first` and some more, none if that is 0."""

    def __init__(self, folder: Path, first: int, steps: int) -> None:
        self._folder, self._steps = folder / "profile", steps
        self._begin, self._end = first + WARM, first + WARM + steps
        self._running = False

    def turns(self, step: int) -> bool:
        """Whether the trace begins or ends after `step`, for which all steps so far must be finished."""
        return bool(self._steps) and step in (self._begin, self._end)

    def turn(self, step: int) -> str | None:
        """Begin or end the trace. What to tell the user, if anything."""
        if step == self._begin:
            jax.profiler.start_trace(self._folder)
            self._running = True
            return None
        return self.close(step)

    def close(self, step: int) -> str | None:
        """End a trace that is running, after `step`. What to tell the user, if anything."""
        if not self._running:
            return None
        self.stop()
        return (
            f"The trace of {step - self._begin} steps is in {self._folder}; to see it: pip install xprof, then "
            f"xprof --logdir {self._folder}, or open its .trace.json.gz on https://ui.perfetto.dev."
        )

    def stop(self) -> None:
        """End a trace that is running."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()


@contextmanager
def profiling(folder: Path, first: int, steps: int) -> Iterator[Profile]:
    """The trace of a run that goes on from step `first`; an error on the way ends it too."""
    profile = Profile(folder, first, steps)
    try:
        yield profile
    finally:
        profile.stop()
