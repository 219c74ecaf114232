"""What a model is asked for one case of a benchmark, turn by turn: the one form that all benchmarks take for sampling.

A script is plain data and small functions of what the model wrote so far; it knows nothing of models. HumanEval is a
script of one turn; a multi-turn problem gives another script in each mode.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from polyturn.bench.mtpb import Problem
from polyturn.bench.tasks import Task
from polyturn.synthesis.truncate import Cut, Prints, truncate, turn_end
from polyturn.synthesis.turns import Turn, code_text, intent_text, prefix_text, program_source

PROTOCOL = 1  # raise it with any change of what a model is asked, or of where its text is cut
MOST_TOKENS = 1024  # of a whole program at once, so that a context of 2,048 holds it
OPENAI_STOPS = 4  # how many stop strings that API takes


@dataclass(frozen=True)
class Script:
    """One case in one mode.

    turns: how many completions are asked for.
    max_tokens: the longest of each.
    stop: strings a completion may be ended at while it is drawn; `cut` would cut there too.
    prompt: the pieces of text before the next completion, from the codes of the turns so far.
    ends: where a growing completion has surely ended, or None: what a sampler asks after every token.
    cut: a completion to the code that counts; True: the length limit ended it.
    completion: all codes to the text that is kept of a sample: a completion of the prompt, or the whole program.
    """

    turns: int
    max_tokens: int
    stop: tuple[str, ...]
    prompt: Callable[[Sequence[str]], tuple[str, ...]]
    ends: Callable[[str], int | None]
    cut: Callable[[str, bool], Cut]
    completion: Callable[[Sequence[str]], str]


def task_script(task: Task, max_tokens: int, chat: bool = False) -> Script:
    """A function to complete. The answer of a chat model may define all of it anew, and then none of it is cut."""

    def kept(text: str) -> str:
        return text if chat and task.whole(text) else task.cut(text)

    def ends(text: str) -> int | None:
        cut = kept(text)
        return None if cut == text else len(cut)

    def cut(text: str, unfinished: bool) -> Cut:
        code = kept(text)
        return Cut(code, "length" if unfinished and code == text else None)

    return Script(
        turns=1,
        max_tokens=max_tokens,
        stop=() if chat else task.stops[:OPENAI_STOPS],
        prompt=lambda codes: (task.prompt,),
        ends=ends,
        cut=cut,
        completion=lambda codes: codes[0],
    )


def multi(problem: Problem, case: int) -> Script:
    """Turn by turn, each behind what the model itself wrote for the turns before."""
    intents = problem.intents(case)

    return Script(
        turns=len(intents),
        max_tokens=problem.max_tokens,
        stop=(),
        prompt=lambda codes: _history(problem.prefix, intents, codes),
        ends=turn_end,
        cut=truncate,
        completion=lambda codes: program_source(_turns(intents, codes), problem.prefix),
    )


def single(problem: Problem, case: int) -> Script:
    """All intents as one specification in one comment line, answered by one completion."""
    return _at_once(problem, intent_text(" ".join(" ".join(i.split()) for i in problem.intents(case))))


def concat(problem: Problem, case: int) -> Script:
    """The same, but one comment for each intent."""
    return _at_once(problem, "".join(map(intent_text, problem.intents(case))))


def _at_once(problem: Problem, specification: str) -> Script:
    asked, turns = prints_asked(problem), len(problem.prompts)
    prints = Prints(asked, max(asked, turns))  # in `multi` each turn may print once

    def cut(text: str, unfinished: bool) -> Cut:
        return truncate(text, unfinished, prints)

    return Script(
        turns=1,
        max_tokens=min(problem.max_tokens * turns, MOST_TOKENS),
        stop=(),
        prompt=lambda codes: (prefix_text(problem.prefix), specification),
        ends=lambda text: turn_end(text, prints),
        cut=cut,
        completion=lambda codes: prefix_text(problem.prefix) + specification + codes[0] + "\n",
    )


def oracle(problem: Problem, case: int, turn: int) -> Script:
    """One turn (from 0) behind the reference code of the turns before; the reference goes on behind it too.

    The program is the reference with this one turn put in its place, so it prints the right value if the turn is
    right, whatever else the model can or cannot do.
    """
    intents, reference = problem.intents(case), problem.reference_code(case)

    def completion(codes: Sequence[str]) -> str:
        return program_source(_turns(intents, [*reference[:turn], codes[0], *reference[turn + 1 :]]), problem.prefix)

    return Script(
        turns=1,
        max_tokens=problem.max_tokens,
        stop=(),
        prompt=lambda codes: _history(problem.prefix, intents, reference[:turn]),
        ends=turn_end,
        cut=truncate,
        completion=completion,
    )


def prints_asked(problem: Problem) -> int:
    """How many values the intents ask to be shown, at least 1: those that speak of printing."""
    return max(1, sum(re.search(r"\bprint", prompt, re.IGNORECASE) is not None for prompt in problem.prompts))


def turn_lines(problem: Problem, case: int, codes: Sequence[str]) -> list[range]:
    """For each turn of the `multi` program the lines, from 1, that its comment and code take up."""
    found, at = [], prefix_text(problem.prefix).count("\n") + 1
    for intent, code in zip(problem.intents(case), codes, strict=False):
        size = (intent_text(intent) + code_text(code)).count("\n")
        found.append(range(at, at + size))
        at += size
    return found


def _history(prefix: str, intents: Sequence[str], codes: Sequence[str]) -> tuple[str, ...]:
    """The pieces before the code of turn `len(codes)`."""
    pieces = [prefix_text(prefix)]
    for intent, code in zip(intents, codes, strict=False):
        pieces += [intent_text(intent), code_text(code)]
    return (*pieces, intent_text(intents[len(codes)]))


def _turns(intents: Sequence[str], codes: Sequence[str]) -> list[Turn]:
    return [Turn(intent, code) for intent, code in zip(intents, codes, strict=True)]
