"""Where the work of a build is done: in processes of this machine, or on a cluster; the same tasks and queries.

    runner = open_runner("native", workers=2)
    for place, found in runner.map(task, items): ...         # task(item) for each item, in any order
    runner.groups(files, "key", ["id"], passes=1, at=0)       # rows that share a key, as an Arrow table

Two kinds of work are all there is. `map` runs a task on items that know nothing of each other; tasks leave their
results in files, whole or not at all, and return a few numbers. `groups` brings together the rows of Parquet files
that have the same 64-bit key, and only keys, ids and numbers travel through it, never texts.

`native` is Daft in this machine's processes, `ray` the same queries on a Ray cluster that sees the same files.
`plain` is the reference twin, with no engine: multiprocessing and Arrow. All three give the same results.
"""

import atexit
import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children, get_context
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

from polyturn.utils.errors import UserError

type Item = dict[str, Any]
type Task = Callable[[Item], Item]
type RunnerName = Literal["native", "ray", "plain"]

SETTINGS = {
    "DO_NOT_TRACK": "true",  # Daft sends a note about each query to its makers
    "DAFT_PROGRESS_BAR": "0",  # there is ours
    "RAY_AUTH_MODE": "disabled",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_DASHBOARD": "1",  # else Daft asks a private part of Ray where that is, and Ray warns in each query
}


KILLED = (
    "A worker process was killed, most likely because memory ran out; run again, with fewer --workers, and the build "
    "goes on where it was."
)


class Runner(Protocol):
    """Does work somewhere."""

    def map(self, task: Task, items: Sequence[Item]) -> Iterator[tuple[int, Item]]:
        """The place of each item and what the task returned for it, JSON both, as they come.

        Raises:
            UserError: the task raised it.
            RuntimeError: the task raised something else; the text is its traceback.
        """
        ...

    def groups(self, files: Sequence[Path], key: str, values: Sequence[str], passes: int, at: int) -> Any:
        """Groups of more than one row as a pyarrow.Table: `key`, and each of `values` as lists. In no order.

        Args:
            files: Parquet files with these columns; `key` is uint64, or a list of uint64, each of which counts.
            passes: only rows whose key leaves the remainder `at` when divided by it: a part that fits in memory.
        """
        ...


def open_runner(name: RunnerName, workers: int, address: str | None = None) -> Runner:
    """A runner by its name.

    Args:
        workers: processes at a time.
        address: of a Ray cluster, by default what RAY_ADDRESS says; without either one is started on this machine.

    Raises:
        UserError: there are no workers, or an address is given to a runner that has none.
    """
    if workers < 1:
        raise UserError(f"There are {workers} workers; give 1 or more.")
    if address is not None and name != "ray":
        raise UserError(f"The runner {name} has no address; leave --address out, or give --runner ray.")
    os.environ.update({key: os.environ.get(key, value) for key, value in SETTINGS.items()})
    if name == "plain":
        return Plain(workers)
    os.environ["DAFT_RUNNER"] = name  # read once, at the first query of the process
    import daft

    if name == "ray":
        join_ray(workers, address or os.environ.get("RAY_ADDRESS"))
    else:
        from polyturn.data import workers as processes

        processes.watch()
    if daft.get_or_infer_runner_type() != name:
        raise UserError(f"This process has begun with another runner than {name}; start a new one.")
    return Daft(workers)


def join_ray(workers: int, address: str | None) -> None:
    """Have Daft work on a Ray cluster, or on one that is started here, with room for all workers.

    For workers that have no room Daft waits two minutes in each query, before it begins with the others.
    """
    import daft
    import ray

    try:
        if address is None and not ray.is_initialized():
            ray.init("local", num_cpus=max(workers, os.cpu_count() or 1), include_dashboard=False)
        daft.set_runner_ray(address, noop_if_initialized=True)
    except Exception as error:
        where = f"Ray cannot be reached at {address}" if address else "Ray cannot be started on this machine"
        raise UserError(f"{where} ({last_line(error)}); see to it, and run again, or take --runner native.") from error


class Plain:
    """The reference: processes and Arrow."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, task: Task, items: Sequence[Item]) -> Iterator[tuple[int, Item]]:
        """See `Runner`."""
        jobs = (json.dumps([place, item]) for place, item in enumerate(items))
        caught = Caught(task)
        with ProcessPoolExecutor(
            min(self.workers, len(items)) or 1, get_context("spawn"), follow_parent, (os.getpid(),)
        ) as pool:
            waiting: set[Future[str]] = set()
            try:
                while waiting or len(waiting) < len(items):
                    with uninterrupted():
                        waiting |= {pool.submit(caught, job) for job in islice(jobs, 2 * self.workers - len(waiting))}
                    if not waiting:
                        return
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for each in done:
                        yield told(each.result())
            except BrokenProcessPool:
                raise UserError(KILLED) from None
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in active_children():
                    worker.kill()
                raise

    def groups(self, files: Sequence[Path], key: str, values: Sequence[str], passes: int, at: int) -> Any:
        """See `Runner`."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        tables = []
        for file in files:
            table = pq.read_table(file, columns=[key, *values])
            if pa.types.is_list(table.schema.field(key).type):
                rows = pc.list_parent_indices(table[key].combine_chunks())  # pyright: ignore[reportAttributeAccessIssue]
                keys = table[key].combine_chunks().flatten()
                table = table.drop_columns([key]).take(rows).append_column(key, keys)
            kept = [number % passes == at for number in table[key].to_pylist()]
            tables.append(table.filter(pa.array(kept, pa.bool_())).select([key, *values]))
        every = pa.concat_tables(tables)
        grouped = every.group_by(key).aggregate([(value, "list") for value in values] + [([], "count_all")])
        grouped = grouped.filter(pc.greater(grouped["count_all"], 1))  # pyright: ignore[reportAttributeAccessIssue]
        return grouped.select([key, *(f"{value}_list" for value in values)]).rename_columns([key, *values])


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C back for a moment, and from processes that start in it for good: they end with their parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Daft:
    """Daft, on whichever of its runners was set."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        here = threading.current_thread() is threading.main_thread()  # elsewhere no signal comes
        if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupted)

    def map(self, task: Task, items: Sequence[Item]) -> Iterator[tuple[int, Item]]:
        """See `Runner`."""
        import daft

        from polyturn.data import workers

        if not items:
            return
        jobs = [json.dumps([place, item]) for place, item in enumerate(items)]

        @daft.cls(use_process=True, max_concurrency=min(self.workers, len(jobs)), cpus=1)
        class Worker:
            def __init__(self, caught: Caught) -> None:
                follow_parent(os.getppid())  # or Ray's daemon; one that is gone by now hands out no work
                self.caught = caught

            @daft.method(return_dtype=daft.DataType.string())
            def run(self, job: str) -> str:
                return self.caught(job)

        frame = daft.from_pydict({"job": jobs}).into_batches(1)
        frame = frame.select(Worker(Caught(task)).run(daft.col("job")).alias("answer"))  # pyright: ignore
        rows = frame.iter_rows(results_buffer_size=None)
        try:
            while True:
                with engine():
                    row = next(rows, None)
                if row is None:
                    return
                yield told(row["answer"])
        finally:
            workers.end()

    def groups(self, files: Sequence[Path], key: str, values: Sequence[str], passes: int, at: int) -> Any:
        """See `Runner`."""
        import daft
        from daft import col

        frame = daft.read_parquet([str(file) for file in files]).select(col(key), *map(col, values))
        if frame.schema()[key].dtype.is_list():
            frame = frame.explode(col(key))
        if passes > 1:
            frame = frame.where(col(key) % daft.lit(passes) == daft.lit(at))
        lists = [col(value).list_agg().alias(value) for value in values]
        frame = frame.groupby(col(key)).agg(*lists, col(values[0]).count("all").alias("rows"))
        with engine():
            return frame.where(col("rows") >= daft.lit(2)).select(col(key), *map(col, values)).to_arrow()


@contextmanager
def engine() -> Iterator[None]:
    """What Daft raises in here is not about a task, which never raises: a process of it is gone, or it is broken."""
    try:
        yield
    except Exception as error:
        if KILLED in str(error):
            raise UserError(KILLED) from error
        raise UserError(f"Daft stopped ({last_line(error)}); run again, and the build goes on where it was.") from error


def last_line(error: Exception) -> str:
    """What an exception says in the end, without a full stop."""
    said = str(error).strip().splitlines()
    return said[-1].rstrip(".") if said else type(error).__name__


def interrupted(number: int, frame: FrameType | None) -> None:
    """Ctrl-C as ever, but once all is told the process ends without Python's own end, in which Daft's threads abort."""
    atexit.register(os._exit, 130)
    signal.default_int_handler(number, frame)


class Caught:
    """A task that never raises: it answers with what went wrong instead, which travels from any process."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self, job: str) -> str:
        """JSON in, JSON out."""
        place, item = json.loads(job)
        try:
            return json.dumps([place, self.task(item), "", ""])
        except UserError as error:
            return json.dumps([place, None, str(error), ""])
        except OSError as error:
            reason = f"A part of the build failed ({error}); free some space or mend what it names, and run again."
            return json.dumps([place, None, reason, ""])
        except Exception:
            return json.dumps([place, None, "", traceback.format_exc()])


def told(answer: str) -> tuple[int, Item]:
    """The place of an item and what the task returned, from what `Caught` answered; raises what went wrong."""
    place, found, mistake, trace = json.loads(answer)
    if mistake:
        raise UserError(mistake)
    if trace:
        raise RuntimeError(trace)
    return place, found


def follow_parent(parent: int) -> None:
    """Make this process, a worker, leave Ctrl-C to its parent and end when the parent does, however that ends.

    The parent may be gone before this is called, and another process be the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
