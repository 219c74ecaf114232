"""How often does a model write the whole program, every turn its own, and print the right value?

    python -m polyturn.bench.curriculum --split test --programs 1000

Programs of the curriculum that training never saw: `test` has seeds of its own, `heldout-pairs` composes
families that are never composed in training. Greedy decoding; each turn sees what the model itself wrote before;
the value that the last print shows is compared with the one the reference printed (typed, see the sandbox).
The programs are the first of their seed, whatever the outcome.
"""

import json
import sys
from collections import Counter as Counts
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Literal, Protocol

from polyturn.bench.statistics import wilson
from polyturn.curriculum.compose import program
from polyturn.curriculum.draft import Program
from polyturn.curriculum.heldout import TEST_SEED
from polyturn.curriculum.verify import Verified, verify
from polyturn.engine.types import Completion, Request, Sampling
from polyturn.sandbox import Isolation, SandboxError, run_programs
from polyturn.synthesis.truncate import truncate, turn_end
from polyturn.synthesis.turns import Encoder, Turn, encode_history, intent_text, program_source
from polyturn.utils.errors import UserError
from polyturn.utils.progress import Counter

FULL = Isolation()
SAMPLING = Sampling(temperature=0.0, max_tokens=160)  # the longest reference turn has about 100 tokens


class Writer(Protocol):
    """What is measured: `polyturn.load` gives one."""

    @property
    def tokenizer(self) -> Encoder: ...  # noqa: D102
    def complete_many(self, requests: Sequence[Request]) -> list[list[Completion]]: ...  # noqa: D102


@dataclass(frozen=True)
class Score:
    """Outcome of one split."""

    split: str
    programs: int
    passed: int
    pass_rate: float
    ci95: tuple[float, float]
    verdicts: dict[str, int]
    turns_exact: float  # share of turns whose code is the reference's to the letter; several codes may be right
    layers: tuple[str, ...]  # isolation of the runs


def problems(split: Literal["test", "heldout-pairs"], count: int) -> list[Verified]:
    """The first `count` programs of the split that verification keeps."""
    kept: list[Verified] = []
    start = 0
    while len(kept) < count:
        composer = "train" if split == "test" else split
        batch = [program(TEST_SEED, index, composer) for index in range(start, start + 512)]
        kept += [item for item in verify(batch) if isinstance(item, Verified)]
        start += 512
    return kept[:count]


def write(model: Writer, programs: Sequence[Program]) -> list[list[Turn]]:
    """Have the model write every program turn by turn, all programs side by side. Greedy."""
    written: list[list[Turn]] = [[] for _ in programs]
    total = sum(len(p.turns) for p in programs)
    done = 0
    with Counter("turns written") as counter:
        for turn in range(max(len(p.turns) for p in programs)):
            at = [n for n, p in enumerate(programs) if turn < len(p.turns)]
            intents = [programs[n].turns[turn].intent for n in at]
            requests = [_request(model, n, written[n], intent) for n, intent in zip(at, intents, strict=True)]
            for n, intent, samples in zip(at, intents, model.complete_many(requests), strict=True):
                cut = truncate(samples[0].text, unfinished=samples[0].finish_reason == "length")
                written[n].append(Turn(intent, cut.code))
            done += len(at)
            counter.show(done, total)
    return written


def _request(model: Writer, number: int, before: Sequence[Turn], intent: str) -> Request:
    prompt = [*encode_history(model.tokenizer, before), *model.tokenizer.encode(intent_text(intent))]
    return Request(prompt, SAMPLING, number=number, complete=turn_end)


def score(
    model: Writer,
    split: Literal["test", "heldout-pairs"],
    count: int,
    workers: int = 2,
    isolation: Isolation = FULL,
) -> Score:
    """Write, run and compare `count` programs of a split.

    Raises:
        SandboxError: the sandbox could not run a program; that is never scored.
    """
    wanted = problems(split, count)
    written = write(model, [item.program for item in wanted])
    verdicts: Counts[str] = Counts()
    layers: set[str] = set()
    for item, result in zip(
        wanted, run_programs(map(program_source, written), workers=workers, isolation=isolation), strict=True
    ):
        if result.verdict == "internal-error":
            raise SandboxError(f"The sandbox failed: {result.error.message if result.error else 'no reason given'}")
        verdicts[result.judged(item.value).verdict] += 1
        layers |= set(result.layers)
    reference = [turn.code for item in wanted for turn in item.program.turns]
    ours = [turn.code for turns in written for turn in turns]
    return Score(
        split=split,
        programs=count,
        passed=verdicts["passed"],
        pass_rate=verdicts["passed"] / count,
        ci95=wilson(verdicts["passed"], count),
        verdicts=dict(sorted(verdicts.items())),
        turns_exact=sum(a == b for a, b in zip(ours, reference, strict=True)) / len(reference),
        layers=tuple(sorted(layers)),
    )


def main(
    model: str | None = None,
    split: Literal["test", "heldout-pairs"] = "test",
    programs: int = 1000,
    allow_weaker_isolation: bool = False,
) -> int:
    """Print the score of a model as one JSON object, with all that is needed to repeat it.

    Args:
        model: Built-in name, model folder, or Hub id (owner/name).
        split: `test`, or `heldout-pairs` for families never composed in training.
        programs: How many, from the first on.
        allow_weaker_isolation: Run with the strongest layers this host gives; otherwise a missing one is an error.
    """
    from polyturn.api import load

    if programs < 1:
        raise UserError("Give at least one program.")
    loaded = load(model)
    outcome = {
        "schema": 1,
        "benchmark": "curriculum",
        "model": loaded.name,
        "digest": loaded.digest,
        **asdict(score(loaded, split, programs, isolation=Isolation(allow_weaker=allow_weaker_isolation))),
        "seed": TEST_SEED,
        "sampling": asdict(SAMPLING),
        "versions": {name: version(name) for name in ("polyturn", "jax", "numpy", "tokenizers")},
    }
    print(json.dumps(outcome))
    return 0


if __name__ == "__main__":
    import tyro

    from polyturn.utils.exits import exit_code

    COMMAND = "python -m polyturn.bench.curriculum"
    sys.exit(exit_code(COMMAND, lambda: tyro.cli(main, prog=COMMAND), SandboxError))
