"""`polyturn chat`: build a program by saying what each step should do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from polyturn.sandbox import SandboxError
from polyturn.synthesis.session import ISOLATION, MAX_TOKENS, Session, Step
from polyturn.utils.errors import UserError

if TYPE_CHECKING:  # rich takes a while, and help does without it
    from polyturn.cli.show import Console

HELP = """Type what the next step should do, in a sentence. Commands:
  /undo              take the last turn back
  /retry             write the last turn again with another seed
  /edit N INTENT     change the intent of turn N; it and the turns behind it are written anew
  /code N            type the code of turn N yourself, ended by an empty line
  /show              the program so far
  /save FILE         as JSON (FILE.json) to go on later, or as Python (FILE.py)
  /load FILE.json    go on with a saved session
  /help              this
  /quit              leave (so does Ctrl-D)
Ctrl-C cancels the line, or the turn that is being written."""


def chat(
    model: str | None = None,
    load: Path | None = None,
    temperature: float = 0.2,
    top_p: float = 0.95,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    prefix: Annotated[str, tyro.conf.arg(metavar="CODE")] = "",
) -> int:
    """State an intent, see the code, see it run.

    Args:
        model: Built-in name, model folder, or Hub id (owner/name).
        load: A saved session to go on with; its prefix is taken too.
        temperature: 0 takes the likeliest code; higher varies more.
        top_p: Draw from the likeliest tokens that hold this much probability.
        max_tokens: Longest code of one turn.
        seed: Two chats with the same seed and intents give the same code.
        prefix: Code before the first turn, such as imports.
    """
    import polyturn
    from polyturn.cli import show
    from polyturn.engine.types import Sampling

    if load is not None and prefix:
        raise UserError("A saved session brings its own prefix; leave --prefix out, or start without --load.")
    console = show.Console()
    sampling = Sampling(temperature, top_p, max_tokens, seed=seed)
    with console.status("Loading the model …"):
        conversation = Conversation(console, polyturn.Session(polyturn.load(model), prefix=prefix, sampling=sampling))
    if load is not None:
        conversation.show(conversation.load(str(load)))
    show.isolation(console, polyturn.run_program("", isolation=ISOLATION).layers)
    console.print("Say what the first step should do, or /help.", style="dim")
    while True:
        try:
            if not conversation.answer(conversation.read("\n> ")):
                return 0
        except KeyboardInterrupt:
            console.print("\nCancelled; the program is as it was. Ctrl-D or /quit leaves.", style="dim")
        except (UserError, SandboxError) as error:
            console.print(str(error), style="yellow")


class Conversation:
    """A session and the person who builds it."""

    def __init__(self, console: "Console", session: Session) -> None:
        """Begin with what `session` holds."""
        self.console = console
        self.session = session
        self._kept = session.source  # the program as it was last saved or loaded
        self._refused = ""  # the line that would have lost something; the same line again does it

    def read(self, prompt: str) -> str:
        """The next line, without blanks around it; Ctrl-D counts as /quit."""
        line = self._line(prompt)
        return "/quit" if line is None else line.strip()

    def answer(self, words: str) -> bool:
        """Do what one line asks for and show what changed. Whether the chat goes on."""
        command, _, rest = words.partition(" ")
        rest = rest.strip()
        if words == "/load":
            raise UserError("Name a saved session, as in /load FILE.json.")
        if words != self._refused and (loss := self._loss(command, rest)):
            self._refused = words
            raise UserError(loss)
        self._refused = ""
        if command in ("/quit", "/exit"):
            return False
        if not words:
            return True
        if not command.startswith("/"):
            with self.console.status("Writing …"):
                changed = [self.session.turn(words)]
        else:
            changed = self._obey(command, rest)
        self.show(changed)
        return True

    def show(self, changed: list[Step]) -> None:
        """Print the last turns of the program, which have changed."""
        from polyturn.cli import show

        for number, turn in enumerate(changed, len(self.session.steps) - len(changed) + 1):
            show.step(self.console, number, turn)

    def load(self, path: str) -> list[Step]:
        """Replace the program by a saved one and run it; all of that or nothing. Returns its turns."""
        from polyturn.synthesis import transcript

        before = self.session.prefix, self.session.steps
        try:
            transcript.restore(self.session, _path(path))
            changed = self.session.rerun()
        except BaseException:  # Ctrl-C too
            self.session.prefix, self.session.steps = before
            raise
        self._kept = self.session.source
        return changed

    def _loss(self, command: str, rest: str) -> str:
        """What a command would lose for good, said as a warning; empty where that is nothing."""
        steps = self.session.steps
        if command in ("/quit", "/exit", "/load"):
            if steps and self.session.source != self._kept:
                return "The program is not saved: /save FILE keeps it, the same again drops it."
        elif command in ("/edit", "/retry"):
            first = len(steps) if command == "/retry" else _number(rest.partition(" ")[0])
            typed = [str(n) for n, step in enumerate(steps, 1) if n >= first > 0 and step.ended_by == "edited"]
            if typed:
                return f"This drops the code you typed for turn {', '.join(typed)}; the same again does it."
        return ""

    def _obey(self, command: str, rest: str) -> list[Step]:
        """Carry a command out. Returns the turns that it changed, the last ones of the program."""
        if command == "/undo":
            self.console.print(f"Took back: {self.session.undo().intent}", style="dim")
        elif command == "/retry":
            with self.console.status("Writing …"):
                return [self.session.retry()]
        elif command == "/edit":
            number, _, intent = rest.partition(" ")
            with self.console.status("Writing …"):
                return self.session.edit(_number(number), intent=intent)
        elif command == "/code":
            number = _number(rest)
            self.session.step(number)  # before anything is typed in vain
            return self.session.edit(number, code=self._typed())
        elif command == "/show":
            print(self.session.source, end="", flush=True)  # to the letter: rich would change tabs
        elif command == "/save":
            self._save(rest)
        elif command == "/load":
            return self.load(rest)
        elif command == "/help":
            self.console.print(HELP)
        else:
            raise UserError(f"There is no command {command}; /help lists them.")
        return []

    def _save(self, name: str) -> None:
        from polyturn.synthesis import transcript

        if not name.endswith((".json", ".py")):
            raise UserError("Name a file that ends in .json (to go on later) or .py (the program).")
        path = _path(name)
        (transcript.save if name.endswith(".json") else transcript.export)(self.session, path)
        self._kept = self.session.source
        self.console.print(f"Saved {path}.", style="dim")

    def _typed(self) -> str:
        """Code typed line by line. Raises UserError where there is none."""
        self.console.print("Type the code; an empty line (or Ctrl-D) ends it, Ctrl-C cancels.", style="dim")
        lines: list[str] = []
        while (line := self._line("… ")) and line.strip():
            lines.append(line)
        if not lines:
            raise UserError("No code was typed; the turn stays as it was.")
        return "\n".join(lines)

    def _line(self, prompt: str) -> str | None:
        """A line as it was typed, None for Ctrl-D. Raises UserError for bytes that are not UTF-8."""
        from rich.text import Text

        try:
            return self.console.input(Text(prompt, style="bold cyan"))
        except EOFError:
            self.console.print()
            return None
        except UnicodeDecodeError:
            raise UserError("That line is not UTF-8; set the terminal to UTF-8.") from None


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"There is no home folder for {name}; write the path out.") from None


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UserError("Say which turn by its number, as in /edit 2 Print the sum of xs.")
    return int(text)
