"""Does a model that understands the prompt, measured by its perplexity, succeed more? The paper's question.

For every problem of a run, the perplexity of its prompt under the model: e to the mean negative log-likelihood of the
prompt's tokens. What the prompt is depends on the mode:

- multi: the intents, each behind what the model itself wrote for the turns before (the first sample of each case, at
  the lowest temperature); the code between them is context and does not count.
- single, concat: the whole specification.
- a function to complete: its prompt.

The perplexity of a problem is the mean over its cases. Problems are then set side by side: in one turn and in many;
those that some sample passed and those that none did; by number of turns. `±` is the standard error over problems.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Protocol

import numpy as np

from polyturn.bench.benchmarks import Benchmark, Mode
from polyturn.bench.results import Run, read_results
from polyturn.bench.samples import read_samples, samples_path
from polyturn.utils.atomic import write_text
from polyturn.utils.progress import Counter

SCHEMA = 1


class Scorer(Protocol):
    """What is studied: `polyturn.load` gives one."""

    def log_probabilities(self, pieces: Sequence[str]) -> list[np.ndarray]: ...  # noqa: D102


def study(folder: Path, benchmark: Benchmark, model: Scorer, say: Callable[[str], None]) -> dict[str, Any]:
    """Study the runs of a folder that has results, and write `perplexity.json` there.

    Whether a problem was passed is taken from the first of the benchmark's graders that the folder has results of.

    Raises:
        UserError: the folder has no results, or its samples are damaged.
    """
    tables = []
    results = read_results(folder)
    for mode in benchmark.modes:
        runs = [run for run in results if run.mode == mode and run.temperature is not None]
        grader = next((grader for grader in benchmark.graders if any(run.grader == grader for run in runs)), None)
        if grader is not None and mode != "oracle":
            run = min((run for run in runs if run.grader == grader), key=lambda run: run.temperature or 0.0)
            prompts = _prompts(folder, benchmark, mode, run.temperature or 0.0)
            tables.append(_table(run, benchmark, _perplexities(prompts, model, mode)))
    if not tables:
        say("No perplexity was studied: only modes multi, single and concat have prompts to study.")
    outcome = {"schema": SCHEMA, "runs": tables}
    write_text(folder / "perplexity.json", json.dumps(outcome, indent=1) + "\n")
    return outcome


def _prompts(folder: Path, benchmark: Benchmark, mode: Mode, temperature: float) -> dict[str, list[list[str]]]:
    """For each problem and case the pieces of text: those at odd places count, those at even places are context."""
    firsts = {
        (sample.key.task, sample.key.case): sample.codes
        for sample in read_samples(samples_path(folder, mode, temperature))
        if sample.key.sample == 0
    }
    prompts: dict[str, list[list[str]]] = defaultdict(list)
    for (task, case), codes in firsts.items():
        ((_, script),) = benchmark.scripts(mode, task, case)
        # all of the last prompt: in `multi` that is prefix, intent, code, intent, ...
        pieces = list(script.prompt(codes[:-1]))
        prompts[task].append(pieces if len(pieces) > 1 else ["", *pieces])
    return prompts


def _perplexities(prompts: Mapping[str, list[list[str]]], model: Scorer, mode: str) -> dict[str, float]:
    found: dict[str, float] = {}
    with Counter(f"prompts scored {mode}") as counter:
        for done, (task, cases) in enumerate(prompts.items(), 1):
            found[task] = fmean(_perplexity(model.log_probabilities(pieces)) for pieces in cases)
            counter.show(done, len(prompts))
    return found


def _perplexity(scores: Sequence[np.ndarray]) -> float:
    counted = np.concatenate(scores[1::2])
    return float(np.exp(-np.mean(counted, dtype=np.float64)))


def _table(run: Run, benchmark: Benchmark, perplexities: Mapping[str, float]) -> dict[str, Any]:
    passed = {task for task, score in run.scores.items() if score > 0}
    by_turns: dict[int, list[float]] = defaultdict(list)
    for task, value in perplexities.items():
        if task in benchmark.problems:
            by_turns[len(benchmark.problems[task].prompts)].append(value)
    return {
        "of": run.fingerprint,
        "benchmark": run.benchmark,
        "model": run.model,
        "mode": run.mode,
        "grader": run.grader,
        "temperature": run.temperature,
        "all": _group(list(perplexities.values())),
        "passed": _group([value for task, value in perplexities.items() if task in passed]),
        "not_passed": _group([value for task, value in perplexities.items() if task not in passed]),
        "by_turns": {str(turns): _group(values) for turns, values in sorted(by_turns.items())},
        "problems": {task: round(value, 6) for task, value in perplexities.items()},
    }


def _group(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard error and number of problems; None where they are too few."""
    return {
        "problems": len(values),
        "mean": round(fmean(values), 6) if values else None,
        "standard_error": round(stdev(values) / len(values) ** 0.5, 6) if len(values) > 1 else None,
    }
