"""How fast a run is, in numbers whose meaning is written down here. All times are seconds of this process's clock.

A step is taken to last from the moment the step before was finished on the device to the moment it was: the host sees
both, some steps late. Time in which the devices wait for something else, such as compiling, validation or a save,
belongs to no step; `resume` marks its end.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import jax
import numpy as np

TIMED = frozenset(
    "tokens_per_s tokens_per_s_per_device step_ms step_ms_p95 mfu data_wait_ms checkpoint_s compile_s validation_s "
    "peak_memory_bytes goodput".split()
)
"""The fields of a line that depend on the machine. All the others are the same in every repetition of a run."""


@dataclass
class Meter:
    """Measures a run from the point where this process took it up."""

    tokens: int  # positions that one step reads
    devices: int  # of the whole job
    began: float  # when the run began, in seconds since 1970
    useful: float = 0.0  # seconds spent in steps that still count, those of earlier processes included
    utilisation: Callable[[float], float | None] = lambda rate: None  # from tokens per second; None: not known
    _mark: float = field(default_factory=time.monotonic)
    _steps: list[float] = field(default_factory=list)  # since the last line
    _data: float = 0.0
    _once: dict[str, float] = field(default_factory=dict)  # goes into the next line

    def resume(self) -> None:
        """The devices start on steps again now."""
        self._mark = time.monotonic()

    def finished(self) -> None:
        """A step is finished on the devices."""
        now = time.monotonic()
        self._steps.append(now - self._mark)
        self.useful += now - self._mark
        self._mark = now

    @contextmanager
    def data(self) -> Iterator[None]:
        """The body waits for a batch."""
        before = time.monotonic()
        yield
        self._data += time.monotonic() - before

    @contextmanager
    def other(self, name: str) -> Iterator[None]:
        """The body is not part of a step. Its seconds are in the next line under `name`."""
        before = time.monotonic()
        yield
        self._once[name] = self._once.get(name, 0.0) + time.monotonic() - before
        self.resume()

    def line(self) -> dict[str, float]:
        """What there is to say of the steps since the last line, and begin anew.

        Returns:
            tokens_per_s, tokens_per_s_per_device: positions read per second in steps.
            step_ms, step_ms_p95: median and 95th percentile.
            mfu: model-FLOPs utilisation by `flops.FORMULA`; left out where the device's peak is not known.
            data_wait_ms: how long a step waited for its batch, on average.
            checkpoint_s, compile_s, validation_s: how long training stood still for them; left out where it did not.
            peak_memory_bytes: of the first device; of this process where the device does not tell, as CPUs do not.
            goodput: time in steps that count over time since the run began, whatever happened in between.
        """
        taken = np.array(self._steps)
        rate = len(taken) * self.tokens / max(float(taken.sum()), 1e-9)
        line: dict[str, float] = {
            "tokens_per_s": rate,
            "tokens_per_s_per_device": rate / self.devices,
            "step_ms": 1e3 * float(np.median(taken)),
            "step_ms_p95": 1e3 * float(np.quantile(taken, 0.95)),
            "data_wait_ms": 1e3 * self._data / len(taken),
            "peak_memory_bytes": peak_memory(),
            "goodput": self.useful / max(time.time() - self.began, self.useful, 1e-9),
        }
        share = self.utilisation(rate)
        if share is not None:
            line["mfu"] = share
        line |= self._once
        self._steps, self._data, self._once = [], 0.0, {}
        return line


def peak_memory() -> float:
    """The most bytes that the first device has had in use; the process's own where the device does not tell."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
