"""Progress of long work: a bar on a terminal, plain lines elsewhere, always on stderr.

with Counter("programs") as counter:
    counter.show(done, total)

for item in track(items, "programs"): ...
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Self

LINE_EVERY_S = 10.0


class Counter:
    """Shows how much of one piece of work is done. One that is opened within another shows nothing."""

    _outermost: "Counter | None" = None

    def __init__(self, description: str) -> None:
        self.description = description
        self._bar = None
        self._begun = self._shown = time.monotonic()
        self._least: int | None = None  # done when it was first asked
        self._pace: tuple[int, float] | None = None  # done, and when, as the first work of this run came in

    def __enter__(self) -> Self:
        if Counter._outermost is None:
            Counter._outermost = self
        if Counter._outermost is self and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(
                *columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True), transient=True
            )
            self._task = self._bar.add_task(self.description, total=None, note="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if Counter._outermost is self:
            Counter._outermost = None
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, total: int | None = None, note: str = "") -> None:
        """Tell that `done` of `total` is done; `note` stands behind it."""
        if Counter._outermost not in (None, self):
            return
        self._least = done if self._least is None else self._least
        if self._pace is None and done > self._least:
            self._pace = done, time.monotonic()  # what came before was loading and compiling
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
            return
        now = time.monotonic()
        if now - self._shown >= LINE_EVERY_S or (done == total and now - self._begun >= LINE_EVERY_S):
            self._shown = now
            of = f" of {total}" if total is not None else ""
            left = ""
            if total is not None and self._pace is not None and self._pace[0] < done < total:
                seconds = (now - self._pace[1]) / (done - self._pace[0]) * (total - done)
                left = f", about {span(seconds)} left"
            line = f"{self.description}: {done}{of} after {span(now - self._begun)}{left}  {note}".rstrip()
            print(line, file=sys.stderr, flush=True)


def span(seconds: float) -> str:
    """A time for people to read: `42 s`, `7 min`, `5 h 5 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def track[T](items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` while showing how many are done, out of `total` (taken from `len` where there is one)."""
    if total is None:
        length = getattr(items, "__len__", None)
        total = length() if length else None
    with Counter(description) as counter:
        counter.show(0, total)
        for done, item in enumerate(items, 1):
            yield item
            counter.show(done, total)
