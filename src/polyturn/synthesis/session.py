"""One program, built turn by turn: state an intent, get its code, see the program so far run.

session = Session(model)
turn = session.turn("Assign the list [3, 1, 2] to a variable named xs.")
turn.code, turn.result.stdout
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from polyturn.engine.types import Sampling, TextRequest
from polyturn.sandbox import Isolation, Limits, Result, run_program
from polyturn.synthesis.completer import Completer
from polyturn.synthesis.truncate import truncate, turn_end
from polyturn.synthesis.turns import Turn, code_text, intent_text, is_text, prefix_text, program_source
from polyturn.utils.errors import UserError

MAX_TOKENS = 256  # of one turn
ISOLATION = Isolation(allow_weaker=True)  # of the user's own programs: whatever this host gives, and no less

type Run = Callable[[str], Result]


@dataclass(frozen=True)
class Step:
    """One turn of a session, done."""

    intent: str
    code: str
    seed: int  # the one its code was drawn with
    ended_by: str | None = None  # the truncation rule that ended it, see `truncate`; "edited" if written by hand
    result: Result | None = None  # of the program up to and with this turn; None if it was not run
    output: str = ""  # what this turn added to what the program prints


class Session:
    """The history of one program. Every change keeps the steps consistent or leaves them as they were."""

    def __init__(
        self,
        model: Completer,
        *,
        prefix: str = "",
        sampling: Sampling | None = None,
        limits: Limits | None = None,
        run: Run | None = None,
    ) -> None:
        """Begin an empty program.

        Args:
            model: what writes the code.
            prefix: code put before the first turn, such as imports.
            sampling: how code is drawn; the seed of each turn follows from this one.
            limits: of each run of the program.
            run: runs a program instead of the sandbox's `run_program` (with ISOLATION); for tests and remote sandboxes.

        Raises:
            UserError: the prefix is not text.
        """
        _check_text(prefix)
        self.model = model
        self.prefix = prefix
        self.sampling = sampling or Sampling(max_tokens=MAX_TOKENS)
        self.limits = limits or Limits()
        self.steps: list[Step] = []
        self._run = run or (lambda source: run_program(source, self.limits, isolation=ISOLATION))

    @property
    def source(self) -> str:
        """The program so far, intents as comments, ready to run or to save as a .py file."""
        return self._program(self.steps)

    def step(self, number: int) -> Step:
        """Turn `number`; 1 is the first. Raises UserError where there is no such turn."""
        if not 1 <= number <= len(self.steps):
            raise UserError(f"There is no turn {number}; the program has {len(self.steps)}.")
        return self.steps[number - 1]

    def turn(self, intent: str, seed: int | None = None) -> Step:
        """Write the code for one more intent and run the program so far.

        Raises:
            UserError: the intent is empty, or the history no longer fits the model's context.
        """
        step = self._write(self.steps, intent, self.sampling.seed if seed is None else seed)
        self.steps.append(step)
        return step

    def retry(self) -> Step:
        """Write the last turn anew with the next seed. Raises UserError where there is none, and like `turn`."""
        last = self._last()
        step = self._write(self.steps[:-1], last.intent, last.seed + 1)
        self.steps[-1] = step
        return step

    def undo(self) -> Step:
        """Take the last turn back and return it. Raises UserError where there is none."""
        self._last()
        return self.steps.pop()

    def edit(self, number: int, *, intent: str | None = None, code: str | None = None) -> list[Step]:
        """Change turn `number` (1 is the first) and bring what follows in line with it.

        A new intent is written anew, and so are the turns behind it, which were written for the old code. New
        code is taken as it is, and the turns behind it keep theirs; all of them run again.

        Returns:
            The changed step and all behind it.

        Raises:
            UserError: there is no such turn, or like `turn`.
        """
        old = self.step(number)
        index = number - 1
        intent = (intent or "").strip() or old.intent
        kept, rest = self.steps[:index], self.steps[index + 1 :]
        if code is not None:
            _check_text(intent, code)
            changed = replace(old, intent=intent, code=code.strip("\n").rstrip(), ended_by="edited")
            for step in [changed, *rest]:
                kept.append(self._ran(kept, step))
        else:
            for words, seed in [(intent, old.seed), *((s.intent, s.seed) for s in rest)]:
                kept.append(self._write(kept, words, seed))
        self.steps = kept
        return self.steps[index:]

    def rerun(self) -> list[Step]:
        """Run every turn's program again, as after loading a transcript."""
        done: list[Step] = []
        for step in self.steps:
            done.append(self._ran(done, step))
        self.steps = done
        return done

    def _last(self) -> Step:
        if not self.steps:
            raise UserError("The program has no turns yet; state an intent first.")
        return self.steps[-1]

    def _write(self, before: Sequence[Step], intent: str, seed: int) -> Step:
        if not intent.strip():
            raise UserError("The intent is empty; say in a sentence what the next step should do.")
        _check_text(intent)
        pieces = [prefix_text(self.prefix)] if self.prefix.strip() else []
        for step in before:
            pieces += [intent_text(step.intent), code_text(step.code)]
        request = TextRequest((*pieces, intent_text(intent)), replace(self.sampling, seed=seed), turn_end)
        ((_, written),) = self.model.complete_texts([request])
        if written.finish_reason == "context":
            raise UserError(
                f"The program and one more turn of up to {self.sampling.max_tokens} tokens no longer fit the model's "
                "context; take turns back, lower max_tokens, or begin a new program."
            )
        cut = truncate(written.text, unfinished=written.finish_reason == "length")
        return self._ran(before, Step(intent.strip(), cut.code, seed, cut.reason))

    def _ran(self, before: Sequence[Step], step: Step) -> Step:
        result = self._run(self._program([*before, step]))
        earlier = ""
        if before:  # after a restore the turn before may not have run yet
            earlier = (before[-1].result or self._run(self._program(before))).stdout
        new = result.stdout.removeprefix(earlier) if result.stdout.startswith(earlier) else result.stdout
        return replace(step, result=result, output=new)

    def _program(self, steps: Sequence[Step]) -> str:
        return program_source([Turn(s.intent, s.code) for s in steps], self.prefix)


def _check_text(*texts: str) -> None:
    if not all(map(is_text, texts)):
        raise UserError("The text holds half characters (lone surrogates); type it again or save it as UTF-8.")
