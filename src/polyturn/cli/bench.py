"""`polyturn bench`: draw samples of a benchmark, grade them, report; check a data file; put shards together."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from polyturn.utils.errors import UserError
from polyturn.utils.signals import on_signal


@dataclass(frozen=True)
class Grading:
    """How samples are graded.

    Args:
        graders: strict and original for mtpb, by default both; tests or inproc for the others, by default tests.
        workers: Programs run at a time; 0 for one on each CPU.
        cpu_s: Seconds of CPU time for each program.
        memory_mb: MiB for each program, on top of the interpreter's.
        packages: What programs may import besides the standard library.
        allow_weaker_isolation: Run with the strongest layers this host gives; otherwise a missing one is an error.
    """

    graders: str | None = None
    workers: int = 0
    cpu_s: float = 5.0
    memory_mb: int = 1024
    packages: tuple[str, ...] = ("numpy",)
    allow_weaker_isolation: bool = False

    def chosen(self, benchmark: "Benchmark") -> "tuple[Grader, ...]":
        """The graders, by default all but `inproc`."""
        usual: tuple[Grader, ...] = tuple(grader for grader in benchmark.graders if grader != "inproc")
        return _choices("graders", self.graders, benchmark.graders, usual)

    def conditions(self) -> "Conditions":
        """How programs are run. UserError or SandboxError for what is out of its range, or packages not there."""
        from polyturn.bench.grading import Conditions
        from polyturn.sandbox import Isolation, Limits

        workers = self.workers
        if workers < 0:
            raise UserError(f"--workers is {workers}; give 1 or more, or 0 for one on each CPU.")
        if not workers:
            workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        isolation = Isolation(allow_weaker=self.allow_weaker_isolation, packages=self.packages)
        conditions = Conditions(Limits(self.cpu_s, memory_mb=self.memory_mb), workers, isolation)
        conditions.versions()
        return conditions


GradingOptions = Annotated[Grading, tyro.conf.arg(name="")]


def run(
    benchmark: Annotated[Literal["humaneval", "mbpp", "mtpb"], tyro.conf.Positional],
    data: str,
    out: Path,
    model: str | None = None,
    endpoint: str | None = None,
    n: int = 1,
    temperatures: str = "0.2",
    modes: str | None = None,
    top_p: float = 0.95,
    max_tokens: int | None = None,
    seed: int = 0,
    shard: str = "0/1",
    data_digest: str | None = None,
    chat: bool = False,
    concurrency: int = 8,
    requests_per_minute: float | None = None,
    perplexity: bool = False,
    grade: bool = True,
    *,
    grading: GradingOptions,
) -> None:
    """Draw samples of a benchmark from a model, grade them, and print the results. Run again, it goes on.

    A killed run loses no finished sample; with a larger --n, or more temperatures or modes, a later call adds to it.

    Args:
        benchmark: humaneval (or HumanEval+), mbpp, or mtpb (or any multi-turn problems of its form).
        data: The benchmark's file, or its address on the network (with --data-digest).
        out: The folder of the run.
        model: Built-in name, model folder, or Hub id (owner/name); by default the built-in model.
        endpoint: An OpenAI-compatible address that ends in /v1, instead of a local model; --model names its model.
            The key is taken from POLYTURN_API_KEY or OPENAI_API_KEY.
        n: Samples of each case, at each temperature; at temperature 0 one, as all would be alike.
        temperatures: Separated by commas, such as 0.2,0.6,0.8.
        modes: Of mtpb: multi, single, concat, oracle, separated by commas; by default multi.
        top_p: Draw from the likeliest tokens that hold this much probability.
        max_tokens: Longest completion of a function (default 512); the problems of mtpb say it themselves.
        seed: Two runs with the same seed draw the same samples.
        shard: i/n draws the i-th (from 0) of n parts of the samples, for n machines; see `bench merge`.
        data_digest: The SHA-256 that the data file must have.
        chat: Ask the endpoint through /chat/completions instead of /completions.
        concurrency: Requests to the endpoint at a time.
        requests_per_minute: At most that many to the endpoint.
        perplexity: Study the perplexity of the prompts too (local models only).
        grade: Grade and report (--no-grade: only draw).
    """
    from polyturn.bench.benchmarks import Mode, read_benchmark
    from polyturn.bench.download import fetch
    from polyturn.bench.grading import grade_run
    from polyturn.bench.runner import draw_run
    from polyturn.bench.samples import Settings, check_run
    from polyturn.bench.shards import parse_shard
    from polyturn.engine.types import Sampling
    from polyturn.hub.catalogue import DEFAULT

    if n < 1:
        raise UserError(f"--n is {n}; draw at least one sample.")
    if chat and endpoint is None:
        raise UserError("--chat is a way to ask an endpoint; give --endpoint, or leave it out.")
    chosen = read_benchmark(benchmark, fetch(data, data_digest), max_tokens, chat)
    asked: tuple[Mode, ...] = _choices("modes", modes, chosen.modes, chosen.modes[:1])
    marks = grading.chosen(chosen)
    heats = _temperatures(temperatures)
    if perplexity and endpoint:
        raise UserError("Endpoints do not tell the probabilities of a prompt; leave --perplexity out, or give a model.")
    if perplexity and not grade:
        raise UserError("The study of perplexity needs scores; leave --perplexity or --no-grade out.")
    for heat in heats:
        Sampling(heat, top_p)  # raises what is out of its range
    parse_shard(shard)
    conditions = grading.conditions()
    remote = _endpoint(endpoint, model, chat, concurrency, requests_per_minute) if endpoint is not None else None
    settings = Settings(
        benchmark=benchmark,
        data=chosen.digest,
        model=DEFAULT if model is None else model,
        digest=None,
        endpoint=remote.base if remote else None,
        top_p=top_p,
        max_tokens=chosen.max_tokens,
        seed=seed,
        chat=chat,
        shard=shard,
        drawn_with=_versions("polyturn", *(() if endpoint else ("jax", "numpy", "tokenizers"))),
    )
    check_run(out, settings, unknown=("digest",))  # before the model is loaded, which takes a while
    with _stoppable():
        if grade:
            _check_sandbox(conditions)
        completer = remote or _load(settings.model)
        settings = replace(settings, digest=completer.digest or None)
        draw_run(out, chosen, completer, settings, asked, heats, n, _say)
        _say_usage(completer)
        if not grade:
            print(f"Samples are in {out}; `polyturn bench grade {out} --data {data}` grades them.")
            return
        grade_run(out, chosen, marks, conditions, _say)
        if perplexity:
            from polyturn.analysis.perplexity import study

            study(out, chosen, completer, _say)  # pyright: ignore[reportArgumentType] - a local model, see above
    _tell(out)


def grade(
    samples: Annotated[Path, tyro.conf.Positional],
    data: str,
    benchmark: Literal["humaneval", "mbpp", "mtpb"] | None = None,
    out: Path | None = None,
    data_digest: str | None = None,
    *,
    grading: GradingOptions,
) -> None:
    """Grade samples and print the results: the folder of a run, or a samples file of another tool.

    Needs no model and no JAX. Run again, it goes on where it was stopped.

    Args:
        samples: The folder of `bench run`, or a JSONL file as HumanEval's own tools and EvalPlus write them.
        data: The benchmark's file, the one the samples were drawn for.
        benchmark: Which benchmark a samples file is of; a run's folder knows.
        out: Where the results of a samples file go; those of a run go into its folder.
        data_digest: The SHA-256 that the data file must have.
    """
    from polyturn.bench.benchmarks import read_benchmark
    from polyturn.bench.download import fetch
    from polyturn.bench.grading import grade_run
    from polyturn.bench.runner import take_samples
    from polyturn.bench.samples import read_settings

    conditions = grading.conditions()
    if samples.is_dir():
        if out is not None and out != samples:
            raise UserError(f"{samples} is the folder of a run, and its results go there; leave --out out.")
        settings = read_settings(samples)
        folder, name = samples, settings.benchmark
        if benchmark not in (None, name):
            raise UserError(f"{samples} holds samples of {name}, not of {benchmark}; leave --benchmark out.")
    elif not samples.exists():
        raise UserError(f"There is no {samples}; name the folder of a run, or a samples file.")
    elif out is None or benchmark is None:
        raise UserError(f"{samples} is not the folder of a run; give --benchmark and --out to grade a samples file.")
    else:
        folder, name = out, benchmark
    chosen = read_benchmark(name, fetch(data, data_digest))  # pyright: ignore[reportArgumentType]
    marks = grading.chosen(chosen)
    with _stoppable():
        if not samples.is_dir():
            _check_sandbox(conditions)
            take_samples(samples, folder, chosen)
        grade_run(folder, chosen, marks, conditions, _say)
    _tell(folder)


def report(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    format: Literal["table", "markdown", "json", "csv"] = "table",
    published: bool = False,
) -> None:
    """Print the results of runs: pass rates with intervals, pass@k, differences between modes and models.

    Args:
        runs: Folders of `bench run` or `bench grade`.
        format: How to print them.
        published: Show the paper's numbers beside, marked, and where nobody has checked them, marked so too.
    """
    print(_report(list(runs), format, published))


def check(
    benchmark: Annotated[Literal["humaneval", "mbpp", "mtpb"], tyro.conf.Positional],
    data: str,
    data_digest: str | None = None,
    *,
    grading: GradingOptions,
) -> int:
    """Grade a data file's own solutions and print how many pass. The exit code is 1 if not all do.

    Args:
        benchmark: humaneval (or HumanEval+), mbpp, or mtpb (or any multi-turn problems of its form).
        data: The benchmark's file, or its address on the network (with --data-digest).
        data_digest: The SHA-256 that the data file must have.
    """
    from polyturn.bench.benchmarks import read_benchmark
    from polyturn.bench.download import fetch
    from polyturn.bench.grading import grade_references

    conditions = grading.conditions()
    chosen = read_benchmark(benchmark, fetch(data, data_digest))
    marks = grading.chosen(chosen)
    without = len(chosen.cases) - len({sample.key.task for sample in chosen.references()})
    if without == len(chosen.cases):
        raise UserError(f"None of the {without} problems of {data} has a solution to check; give a file that has some.")
    if without:
        print(f"{without} of {len(chosen.cases)} problems have no solution.")
    failed = False
    for grader in marks:
        graded = grade_references(chosen, grader, conditions)
        bad = [(sample, result) for sample, result in graded if result.verdict != "passed"]
        for sample, result in bad:
            case = f", case {sample.key.case}" if chosen.cases[sample.key.task] > 1 else ""
            why = f": {result.error.type}: {result.error.message}" if result.error else ""
            print(f"{sample.key.task}{case}: {result.verdict}{why}")
        print(f"{grader}: {len(graded) - len(bad)} of {len(graded)} solutions pass.")
        failed |= bool(bad)
    return int(failed)


def merge(parts: Annotated[tuple[Path, ...], tyro.conf.Positional], out: Path) -> None:
    """Put the shards of a run together. `bench grade` then grades what no shard has graded, and sums up.

    Args:
        parts: The folders of all shards.
        out: A new folder for the whole run.
    """
    from polyturn.bench import shards

    if not parts:
        raise UserError("Give the folders of all shards.")
    shards.merge(parts, out, _say)
    print(f"{len(parts)} shards are together in {out}; `polyturn bench grade {out} --data FILE` sums them up.")


def _check_sandbox(conditions: "Conditions") -> None:
    """Run a program, before anything is drawn. SandboxError where this host does not give the isolation."""
    from polyturn.sandbox import SandboxError, run_program

    result = run_program("print(1)", conditions.limits, isolation=conditions.isolation)
    if result.verdict == "internal-error":
        raise SandboxError(result.error.message if result.error else "the sandbox failed: run `polyturn sandbox check`")


def _say_usage(completer: "Completer") -> None:
    """Tell what an endpoint counted, where it did."""
    usage = getattr(completer, "usage", None)
    if usage is not None and (usage.prompt_tokens or usage.completion_tokens):
        _say(f"The endpoint counted {usage.prompt_tokens} tokens of prompts and {usage.completion_tokens} of samples.")


def _load(model: str) -> "Completer":
    from polyturn.api import load

    _say(f"Loading {model}.")
    return load(model, strict=True)


def _endpoint(
    url: str, model: str | None, chat: bool, concurrency: int, requests_per_minute: float | None
) -> "Endpoint":
    from polyturn.synthesis.endpoint import Endpoint

    if model is None:
        raise UserError("Say with --model which of the endpoint's models to ask.")
    return Endpoint(url, model, chat=chat, concurrency=concurrency, requests_per_minute=requests_per_minute, say=_say)


def _report(
    folders: list[Path], format: Literal["table", "markdown", "json", "csv"] = "table", published: bool = False
) -> str:
    from shutil import get_terminal_size

    from polyturn.analysis.report import report as written

    return written(folders, format, published, get_terminal_size().columns).rstrip("\n")


def _choices[T](option: str, text: str | None, known: tuple[T, ...], usual: tuple[T, ...]) -> tuple[T, ...]:
    """What an option lists, each once."""
    if text is None:
        return usual
    words = dict.fromkeys(word.strip() for word in text.split(",") if word.strip())
    unknown = [word for word in words if word not in known] or ([] if words else [text])
    if unknown:
        raise UserError(f"--{option} names {unknown[0]!r}; here there is {', '.join(map(str, known))}.")
    return tuple(word for word in known if word in words)


def _temperatures(text: str) -> tuple[float, ...]:
    try:
        found = tuple(sorted({float(word) + 0.0 for word in text.split(",")}))  # -0 is 0
    except ValueError:
        raise UserError(f"--temperatures is {text!r}; give numbers separated by commas, such as 0.2,0.6,0.8.") from None
    return found


def _versions(*names: str) -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in names)


def _tell(folder: Path) -> None:
    """Print the report of a folder, and say where its numbers are."""
    print(_report([folder]))
    _say(f"The numbers are in {folder / 'results.json'}; `polyturn bench report {folder}` prints them again.")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C, and SIGTERM from a scheduler, end the work with a word on how to go on.

    At once, unlike training: each sample and verdict is kept as soon as it is there.
    """

    def stop(number: signal.Signals) -> None:
        raise KeyboardInterrupt(number)  # so that what tidies up after Ctrl-C does so here

    with on_signal(stop, signal.SIGTERM):
        try:
            yield
        except KeyboardInterrupt as stopped:
            _say("\nStopped; nothing that was finished is lost, and the same command goes on.")
            sys.exit(128 + (stopped.args[0] if stopped.args else signal.SIGINT))


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from polyturn.bench.benchmarks import Benchmark, Grader
    from polyturn.bench.grading import Conditions
    from polyturn.synthesis.completer import Completer
    from polyturn.synthesis.endpoint import Endpoint
