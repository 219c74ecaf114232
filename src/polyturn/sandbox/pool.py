"""Keeps workers busy, and gives their results back in the order of the tasks. Supervisor side, one thread.

Each worker has one task running and one waiting, so that it never waits for us. A worker that dies or hangs is
replaced, and its tasks are done by others: the one it was running is tried once more, and if that kills the next
worker too, its result says that the sandbox failed.
"""

import atexit
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .layers import hides_host, reason, required
from .limits import Isolation, SandboxError
from .values import shown
from .worker import Ending, Task, Worker, WorkerDied, abandon_all

_AHEAD = 2  # tasks sent to a worker
_WINDOW = 32  # results per worker held back for the sake of their order,
_WINDOW_BYTES = 64 << 20  # unless together they are as large as this
_TRIES = 2
_LONGEST_WAIT_S = 3600.0  # poll(2) takes no more than 24 days
_MOST_IDLE = 8


class _Item(NamedTuple):
    place: int
    task: Task
    deaths: int


def start_worker(isolation: Isolation, memory_mb: int) -> Worker:
    """A worker that holds what `isolation` asks for.

    Where weaker layers are allowed, `full` means: without what this host refuses of it, and `light` only where it
    refuses what hides the host. SandboxError naming the first layer that is refused, unless weaker ones are allowed.
    """
    try:
        worker = Worker(isolation.level, isolation, memory_mb)
        lacking = [layer for layer in required(isolation.level) if layer not in worker.layers]
        enough = isolation.level == "light" or hides_host(worker.layers)
        if not lacking or (isolation.allow_weaker and enough):
            return worker
        worker.close()
        if isolation.allow_weaker:
            return Worker("light", isolation, memory_mb)
    except WorkerDied as error:
        raise SandboxError(f"{error}; run `polyturn sandbox check`") from None
    except OSError as error:
        raise SandboxError(f"this host cannot start a worker: {error}; make room, and run again") from None
    why = reason(lacking[0], worker.missing)
    raise SandboxError(
        f"this host refuses the isolation layer {lacking[0]} ({why}): run elsewhere (`polyturn sandbox check` tells "
        "what a host has), or with --allow-weaker-isolation if you trust the programs"
    )


class Pool:
    """Workers for tasks of one memory limit. Started as they are needed; `close` ends them."""

    def __init__(self, workers: int, isolation: Isolation, memory_mb: int) -> None:
        """SandboxError unless that many can run side by side."""
        if workers < 1:
            raise SandboxError(f"workers is {shown(workers)}: give 1 or more")
        self.isolation = isolation
        self._memory_mb = memory_mb
        self._most = workers
        self._workers: list[Worker] = []
        self._selector = selectors.PollSelector()  # the one that takes no descriptor, of which there may be none left

    def close(self) -> None:
        """End all workers, and with them what still runs."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self._selector.close()

    def run(self, tasks: Iterable[Task]) -> Generator[list[Ending], None, None]:
        """Do the tasks, and yield what became of the children of each, in order.

        Tasks are taken as they are needed. SandboxError if this host does not give the isolation asked for. After
        an exception, or when closed before its end, the workers are gone.
        """
        try:
            yield from self._run(iter(tasks))
        except BaseException:
            for worker in list(self._workers):
                self._discard(worker)
            raise

    def _run(self, tasks: Iterator[Task]) -> Generator[list[Ending], None, None]:
        again: deque[_Item] = deque()
        running: dict[Worker, deque[_Item]] = {}
        done: dict[int, list[Ending]] = {}
        taken = given = 0
        more = True
        while True:
            while more or again:
                worker = self._least_busy(running)
                held = sum(len(one.stdout) + len(one.stderr) + len(one.results) for all in done.values() for one in all)
                full = taken - given >= _WINDOW * self._most or held >= _WINDOW_BYTES
                if worker is None or (not again and full):
                    break
                if again:
                    item = again.popleft()
                elif (task := next(tasks, None)) is not None:
                    item = _Item(taken, task, 0)
                    taken += 1
                else:
                    more = False
                    break
                self._send(worker, item, running, again, done)
            while given in done:
                yield done.pop(given)
                given += 1
            if given == taken and not more:
                return
            self._wait(running, again, done)

    def _least_busy(self, running: dict[Worker, deque[_Item]]) -> Worker | None:
        """The worker to give the next task to, a new one if there may be; None if all have enough."""
        free = [worker for worker in self._workers if len(running.get(worker, ())) < _AHEAD]
        best = min(free, key=lambda worker: len(running.get(worker, ())), default=None)
        if (best is None or running.get(best)) and len(self._workers) < self._most:
            best = start_worker(self.isolation, self._memory_mb)
            self._workers.append(best)
            self._selector.register(best, selectors.EVENT_READ)
        return best

    def _send(
        self,
        worker: Worker,
        item: _Item,
        running: dict[Worker, deque[_Item]],
        again: deque[_Item],
        done: dict[int, list[Ending]],
    ) -> None:
        queue = running.setdefault(worker, deque())
        try:
            worker.send(item.task)
            queue.append(item)
        except OSError as error:
            done[item.place] = _failed(item.task, f"the host has no room for another program: {error}")
        except WorkerDied as death:
            queue.append(item)
            self._bury(worker, death, running, again, done)

    def _wait(self, running: dict[Worker, deque[_Item]], again: deque[_Item], done: dict[int, list[Ending]]) -> None:
        """Wait until a task has ended, and note what became of it."""
        busy = [worker for worker, queue in running.items() if queue]
        if not busy:
            return
        timeout = min(max(0.0, min(worker.deadline for worker in busy) - time.monotonic()), _LONGEST_WAIT_S)
        for key, _ in self._selector.select(timeout):
            worker: Worker = key.fileobj  # pyright: ignore[reportAssignmentType]: what was registered
            try:
                endings = worker.collect()
            except WorkerDied as death:
                self._bury(worker, death, running, again, done)
            else:
                done[running[worker].popleft().place] = endings
        for worker in busy:
            if worker in self._workers and running[worker] and time.monotonic() > worker.deadline:
                self._bury(worker, WorkerDied("a worker hung"), running, again, done)

    def _bury(
        self,
        worker: Worker,
        death: WorkerDied,
        running: dict[Worker, deque[_Item]],
        again: deque[_Item],
        done: dict[int, list[Ending]],
    ) -> None:
        """Give the tasks of a dead worker to others; the one it was running, only once more."""
        lost = running.pop(worker, deque())
        self._discard(worker)
        if lost:
            item = lost.popleft()
            item = item._replace(deaths=item.deaths + 1)
            if item.deaths < _TRIES:
                lost.appendleft(item)
            else:
                done[item.place] = _failed(item.task, f"{death}; twice with this program")
        again.extendleft(reversed(lost))

    def _discard(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._selector.unregister(worker)
        worker.close()


def _failed(task: Task, trouble: str) -> list[Ending]:
    return [Ending(trouble) for _ in task.requests]


# ---- pools kept for calls that run one task at a time

_idle: dict[tuple[Isolation, int], list[Pool]] = {}
_lock = threading.Lock()


@contextmanager
def shared_pool(isolation: Isolation, memory_mb: int) -> Iterator[Pool]:
    """A pool of one worker, warm if one was used before, for this thread alone. Kept until the process ends."""
    key = isolation, memory_mb
    with _lock:
        pools = _idle.setdefault(key, [])
        pool = pools.pop() if pools else Pool(1, isolation, memory_mb)
    try:
        yield pool
    except BaseException:
        pool.close()
        raise
    with _lock:
        if sum(map(len, _idle.values())) < _MOST_IDLE:
            _idle.setdefault(key, []).append(pool)
            return
    pool.close()


def close_idle() -> None:
    """End the workers kept for later calls."""
    with _lock:
        pools = [pool for pools in _idle.values() for pool in pools]
        _idle.clear()
    for pool in pools:
        pool.close()


def _leave_to_the_parent() -> None:
    """In a fork of this process, the workers are not ours: not to use, nor to keep alive by a copy of their socket.

    The lock is a new one: a thread that held it is not there to let it go.
    """
    global _lock
    _lock = threading.Lock()
    _idle.clear()
    abandon_all()


atexit.register(close_idle)
os.register_at_fork(after_in_child=_leave_to_the_parent)
