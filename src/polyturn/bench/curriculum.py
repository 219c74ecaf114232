"""How often does a model write the whole program, every turn its own, and print the right value?

    python -m polyturn.bench.curriculum --split test --programs 1000

Programs of the curriculum that training never saw: `test` has seeds of its own, `heldout-pairs` composes
families that are never composed in training. Greedy decoding; each turn sees what the model itself wrote before;
the value that the last print shows is compared with the one the reference printed (typed, see the sandbox).
The programs are the first of their seed, whatever the outcome.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from polyturn.bench.statistics import wilson
from polyturn.curriculum.compose import program
from polyturn.curriculum.draft import Program
from polyturn.curriculum.heldout import TEST_SEED
from polyturn.curriculum.verify import Verified, verify
from polyturn.engine.types import Completion, Request, Sampling
from polyturn.sandbox import run_programs
from polyturn.synthesis.truncate import truncate, turn_end
from polyturn.synthesis.turns import Turn, encode_history, intent_text, program_source
from polyturn.utils.progress import Counter

MAX_TOKENS = 160  # the longest reference turn has about 100


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


def write(model, programs: Sequence[Program]) -> list[list[Turn]]:
    """Have the model write every program turn by turn, all programs side by side. Greedy."""
    sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
    written: list[list[Turn]] = [[] for _ in programs]
    total = sum(len(p.turns) for p in programs)
    done = 0
    with Counter("turns written") as counter:
        for turn in range(max(len(p.turns) for p in programs)):
            at = [n for n, p in enumerate(programs) if turn < len(p.turns)]
            requests = [
                Request(
                    [*encode_history(model.tokenizer, written[n]), *_encoded(model, programs[n].turns[turn])],
                    sampling,
                    number=n,
                    complete=turn_end,
                )
                for n in at
            ]
            for n, samples in zip(at, model.complete_many(requests), strict=True):
                written[n].append(_turn(programs[n].turns[turn].intent, samples[0]))
            done += len(at)
            counter.show(done, total)
    return written


def _encoded(model, turn: Turn) -> list[int]:
    return model.tokenizer.encode(intent_text(turn.intent))


def _turn(intent: str, sample: Completion) -> Turn:
    return Turn(intent, truncate(sample.text, unfinished=sample.finish_reason == "length").code)


def score(model, split: Literal["test", "heldout-pairs"], count: int, workers: int = 2) -> Score:
    """Write, run and compare `count` programs of a split."""
    wanted = problems(split, count)
    written = write(model, [item.program for item in wanted])
    results = run_programs([program_source(turns) for turns in written], workers=workers)
    verdicts: dict[str, int] = {}
    for item, result in zip(wanted, results, strict=True):
        verdict = result.judged(item.value).verdict
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
    passed = verdicts.get("passed", 0)
    reference = [turn.code for item in wanted for turn in item.program.turns]
    ours = [turn.code for turns in written for turn in turns]
    exact = sum(a == b for a, b in zip(ours, reference, strict=True))
    return Score(
        split=split,
        programs=count,
        passed=passed,
        pass_rate=passed / count,
        ci95=wilson(passed, count),
        verdicts=dict(sorted(verdicts.items())),
        turns_exact=exact / len(reference),
    )


def main(model: str | None = None, split: Literal["test", "heldout-pairs"] = "test", programs: int = 1000) -> None:
    """Print the score of a model as one JSON object.

    Args:
        model: Built-in name, model folder, or Hub id in the local cache.
        split: `test`, or `heldout-pairs` for families never composed in training.
        programs: How many, from the first on.
    """
    from polyturn.api import load

    loaded = load(model)
    outcome = asdict(score(loaded, split, programs))
    print(json.dumps({"schema": 1, "benchmark": "curriculum", "model": loaded.name, **outcome}))


if __name__ == "__main__":
    import tyro

    from polyturn.utils.errors import UserError

    try:
        tyro.cli(main, prog="python -m polyturn.bench.curriculum")
    except UserError as error:
        sys.exit(f"polyturn: {error}")
