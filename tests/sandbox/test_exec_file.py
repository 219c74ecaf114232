"""Programs of a file into results of a file: order, resuming, and what cannot be read."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polyturn.sandbox import Isolation, Limits, SandboxError, exec_file
from polyturn.sandbox.worker import Task, Worker


def write_programs(path: Path, programs: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(program) + "\n" for program in programs))


def read_results(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that were handed to workers from now on, in their order."""
    sources: list[str] = []
    send = Worker.send

    def noting(self: Worker, task: Task) -> None:
        sources.extend(task.requests[0]["programs"])
        send(self, task)

    monkeypatch.setattr(Worker, "send", noting)
    return sources


def test_results_stand_in_the_order_of_the_programs(tmp_path: Path) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    write_programs(
        programs,
        [
            {"id": "slow", "program": "import time\ntime.sleep(0.3)\nprint(1)", "expected": 1},
            {"id": 2, "program": "print(input())", "stdin": "hello", "expected": "hello"},
            {"id": "none", "program": "print(None)", "expected": None, "comment": "ignored"},
            {"id": "wrong", "program": "print([1, 2])", "expected": [1, 3]},
            {"id": "any", "program": "print((1, 2), {3})"},
            {"id": "loop", "program": "while True: pass"},
        ],
    )
    seen: list[tuple[int, int]] = []
    summary = exec_file(
        programs, out, Limits(cpu_s=0.5), 3, on_progress=lambda there, total: seen.append((there, total))
    )
    results = read_results(out)
    assert [result["id"] for result in results] == ["slow", 2, "none", "wrong", "any", "loop"]
    assert [r["verdict"] for r in results] == ["passed", "passed", "passed", "wrong", "passed", "timeout"]
    assert {"stdout", "error", "cpu_s", "wall_s", "memory_mb", "layers"} <= set(results[0])
    assert summary.verdicts == {"passed": 4, "wrong": 1, "timeout": 1}
    assert (summary.kept, summary.malformed) == (0, ())
    assert seen == [(i, 6) for i in range(7)]


def test_lines_that_cannot_be_read_are_reported_and_the_rest_runs(tmp_path: Path) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    lines: list[tuple[bytes, str]] = [
        (b'{"id": "a", "program": "print(1)"}', ""),
        (b'{"id": "b", "program": ', "not JSON"),
        (b'{"id": "\t"}', "Invalid control character at column 9"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1]", "not an object"),
        (b"", ""),
        (b'{"program": "print(1)"}', '"id"'),
        (b'{"id": true, "program": "print(1)"}', '"id"'),
        (b'{"id": "c"}', '"program"'),
        (b'{"id": "d", "program": "print(1)", "stdin": 3}', '"stdin"'),
        (b'{"id": "a", "program": "print(2)"}', "line 1"),
        (b"[" * 100_000, ""),
        (b'{"id": "z", "program": "print(3)"}', ""),
    ]
    programs.write_bytes(b"\n".join(line for line, _ in lines))
    summary = exec_file(programs, out)
    assert [result["id"] for result in read_results(out)] == ["a", "z"]
    wrong = [i for i, (line, reason) in enumerate(lines, 1) if reason or line.startswith(b"[[")]
    assert len(summary.malformed) == len(wrong)
    for number, sentence in zip(wrong, summary.malformed, strict=True):
        assert sentence.startswith(f"line {number} of {programs} was left out: ")
        assert lines[number - 1][1] in sentence


def test_a_second_run_runs_only_what_is_missing(tmp_path: Path, ran: list[str]) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    jobs: list[dict[str, object]] = [{"id": name, "program": f"print({name!r})"} for name in "abcd"]
    write_programs(programs, jobs[:2])
    exec_file(programs, out)
    assert ran == ["print('a')", "print('b')"]
    first = out.read_bytes()
    with out.open("ab") as file:
        file.write(b'{"id": "c", "dig')  # cut short by kill -9
    write_programs(programs, jobs)
    assert exec_file(programs, out).kept == 2
    assert out.read_bytes().startswith(first)
    assert ran[2:] == ["print('c')", "print('d')"]
    assert exec_file(programs, out).kept == 4
    assert len(ran) == 4
    assert [result["stdout"] for result in read_results(out)] == ["a\n", "b\n", "c\n", "d\n"]


def test_programs_inserted_later_take_their_place(tmp_path: Path, ran: list[str]) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    jobs: list[dict[str, object]] = [{"id": name, "program": f"print({name!r})"} for name in "abcd"]
    write_programs(programs, [jobs[1], jobs[3]])
    exec_file(programs, out)
    write_programs(programs, jobs)
    exec_file(programs, out)
    assert [result["id"] for result in read_results(out)] == list("abcd")
    assert ran == [f"print({name!r})" for name in "bdac"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["programs.jsonl", "results.jsonl"]


def test_failures_of_the_sandbox_are_run_again(tmp_path: Path) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    write_programs(programs, [{"id": i, "program": f"print({i})"} for i in range(9)])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take_room(there: int, total: int) -> None:
        """After the first result, this process can open no more descriptors for programs."""
        if there == 1:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))

    try:
        summary = exec_file(programs, out, on_progress=take_room)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    passed = summary.verdicts["passed"]
    assert 1 <= passed < 9
    assert summary.verdicts == {"passed": passed, "internal-error": 9 - passed}
    kept = [line for line in out.read_bytes().splitlines() if b'"internal-error"' not in line]
    summary = exec_file(programs, out)
    assert (summary.verdicts, summary.kept) == ({"passed": 9}, passed)
    assert [result["id"] for result in read_results(out)] == list(range(9))
    assert set(kept) <= set(out.read_bytes().splitlines())


def test_a_sandbox_that_cannot_start_costs_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    write_programs(programs, [{"id": i, "program": f"print({i})"} for i in range(3)])
    exec_file(programs, out)
    done = out.read_bytes()
    write_programs(programs, [{"id": i, "program": f"print({i})"} for i in range(4)])
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(SandboxError, match="/nowhere/python"):
            exec_file(programs, out)
    assert out.read_bytes() == done
    assert exec_file(programs, out).kept == 3
    with pytest.raises(SandboxError, match="pip install no-such-package"):
        exec_file(programs, tmp_path / "new", isolation=Isolation(packages=("no-such-package",)))
    assert (tmp_path / "new").read_bytes() == b""


def test_results_of_other_programs_are_never_overwritten(tmp_path: Path) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    write_programs(programs, [{"id": 1, "program": "print(1)"}])
    exec_file(programs, out)
    done = out.read_bytes()
    for changed, limits in (
        ({"id": 2, "program": "print(1)"}, Limits()),
        ({"id": 1, "program": "print(2)"}, Limits()),
        ({"id": 1, "program": "print(1)", "expected": 1}, Limits()),
        ({"id": 1, "program": "print(1)"}, Limits(cpu_s=1)),
    ):
        write_programs(programs, [changed])
        with pytest.raises(SandboxError, match=r"line 1 of .* is the result of another program"):
            exec_file(programs, out, limits)
        assert out.read_bytes() == done
    write_programs(programs, [{"id": 1, "program": "print(1)"}])
    for foreign in (
        b"precious\n",
        b"precious",
        b"[1]\n",
        b'{"id": [], "verdict": "passed"}\n',
        b'{"id": [], "digest": "0", "verdict": "passed"}\n',
        b'{"id": 2, "digest": null, "verdict": "passed"}\n',
        b'{"id": 1}\n',
        b'{"id": 1, "verdict": "passed"}\n',
        b'{"id": 1, "program": "print(1)"}',
        b"[" * 100_000 + b"\n",
    ):
        out.write_bytes(foreign)
        with pytest.raises(SandboxError, match="line 1"):
            exec_file(programs, out)
        assert out.read_bytes() == foreign


def test_files_that_cannot_be_opened_are_told_in_a_sentence(tmp_path: Path) -> None:
    programs = tmp_path / "programs.jsonl"
    with pytest.raises(SandboxError, match=r"cannot read .*programs\.jsonl: No such file"):
        exec_file(programs, tmp_path / "out")
    write_programs(programs, [{"id": 1, "program": "print(1)"}])
    with pytest.raises(SandboxError, match=r"cannot write .*: No such file"):
        exec_file(programs, tmp_path / "nowhere" / "out")
    with pytest.raises(SandboxError, match="Is a directory"):
        exec_file(programs, tmp_path)


def test_programs_can_come_through_a_pipe(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    code = f"from polyturn.sandbox import exec_file; exec_file('/dev/stdin', {str(out)!r})"
    lines = b"".join(b'{"id": %d, "program": "print(%d)"}\n' % (i, i) for i in range(3))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        input=lines,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [result["stdout"] for result in read_results(out)] == ["0\n", "1\n", "2\n"]


def test_nothing_is_written_for_a_mistake_of_the_caller(tmp_path: Path) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    write_programs(programs, [{"id": 1, "program": "print(1)"}])
    with pytest.raises(SandboxError, match="workers is 0: give 1 or more"):
        exec_file(programs, out, workers=0)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SandboxError, match="pipe is not a regular file"):
        exec_file(programs, tmp_path / "pipe")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe", "programs.jsonl"]


@pytest.mark.parametrize("there", [b"", b'{"id": 0, "digest": "'], ids=["from the start", "after tidying"])
def test_two_processes_never_write_the_same_results(there: bytes, tmp_path: Path) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    write_programs(programs, [{"id": i, "program": "print(1)"} for i in range(3)])
    out.write_bytes(there)
    code = f"from polyturn.sandbox import exec_file; exec_file({str(programs)!r}, {str(out)!r})"
    words = f"another process writes its results to {out}: wait until it ends, or name another file"
    refused: list[int] = []

    def second(done: int, total: int) -> None:
        """When the first run has the results open, and in its middle: another one, in a process of its own."""
        if done in (0, 2):
            before = out.read_bytes()
            with in_a_process(code, tmp_path) as process:
                _, stderr = process.communicate(timeout=60)
            assert words in stderr.decode()
            assert out.read_bytes() == before
            refused.append(done)

    assert exec_file(programs, out, on_progress=second).verdicts == {"passed": 3}
    assert refused == [0, 2]
    assert [result["id"] for result in read_results(out)] == [0, 1, 2]
    assert exec_file(programs, out).kept == 3  # the lock ended with its run


def in_a_process(code: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)


# A caller that notes in a file what it hands to its workers, as the fixture `ran` does here.
NOTING = """
from polyturn.sandbox import exec_file
from polyturn.sandbox.worker import Worker
send = Worker.send
def noting(self, task):
    with open({log!r}, "a") as file: file.write(task.requests[0]["programs"][0].split("\\n")[0] + "\\n")
    send(self, task)
Worker.send = noting
exec_file({programs!r}, {out!r})
"""


@pytest.mark.parametrize("end_by", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_leaves_whole_lines_and_the_next_goes_on(
    end_by: signal.Signals, tmp_path: Path, ran: list[str]
) -> None:
    programs, out, log = tmp_path / "programs.jsonl", tmp_path / "results.jsonl", tmp_path / "log"
    padding = "#" + "x" * 20_000  # lines of several pages, where a write could be cut
    sources = [f"# {i}\nprint('y' * 20000)\n{padding}" for i in range(40)]
    write_programs(programs, [{"id": i, "program": source} for i, source in enumerate(sources)])
    with in_a_process(NOTING.format(log=str(log), programs=str(programs), out=str(out)), tmp_path) as process:
        end = time.monotonic() + 60
        while (not out.exists() or out.read_bytes().count(b"\n") < 5) and time.monotonic() < end:
            time.sleep(0.001)
        process.send_signal(end_by)
        process.communicate()
    there = out.read_bytes()
    assert there.endswith(b"\n")
    kept = len(read_results(out))
    assert 5 <= kept < 40
    assert exec_file(programs, out).kept == kept
    assert out.read_bytes().startswith(there)
    assert [result["id"] for result in read_results(out)] == list(range(40))
    assert ran == sources[kept:]
    began = log.read_text().splitlines()
    assert began == [f"# {i}" for i in range(len(began))]
    assert len(began) <= kept + 3  # one to be written, one running and one waiting


def test_a_full_disk_leaves_whole_lines_and_says_so(tmp_path: Path) -> None:
    programs, out = tmp_path / "programs.jsonl", tmp_path / "results.jsonl"
    write_programs(programs, [{"id": i, "program": "print('y' * 100)"} for i in range(20)])
    code = (
        "import resource\nfrom polyturn.sandbox import exec_file, SandboxError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        f"try: exec_file({str(programs)!r}, {str(out)!r})\n"
        "except SandboxError as error: raise SystemExit(str(error))"
    )
    with in_a_process(code, tmp_path) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.decode().startswith(f"cannot write {out}: ")
    assert "make room and run again" in stderr.decode()
    kept = len(read_results(out))
    assert 2 < kept < 20
    assert exec_file(programs, out).kept == kept
