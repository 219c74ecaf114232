"""Runs a JSONL file of programs into a JSONL file of results: what `polyturn exec` does, as a function.

    exec_file("programs.jsonl", "results.jsonl", Limits(cpu_s=2), workers=4)

A line of programs is {"id", "program", "stdin"?, "expected"?}: `id` is text or an integer, used once; `expected` is
the value that must be printed last, in plain JSON. A line of results is the id, a digest of what was run under which
limits, and `Result.to_json()`. Results stand in the order of the programs. A line that cannot be read is reported with
its number, and the others run. The programs are read once, so that they can come through a pipe, and held in memory.

It resumes: results that are there already are kept, except those of verdict `internal-error`, and only the rest is
run. Each result is appended by one write of a whole line. If a full disk cuts that short, the piece is taken back; if
kill -9 does, the next run removes it. The results are locked (flock(2)) as long as a run writes them.
"""

import fcntl
import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

from .limits import DEFAULT_ISOLATION, DEFAULT_LIMITS, Isolation, Limits, SandboxError
from .result import UNSET
from .run import Job, run_jobs

type Id = str | int


@dataclass(frozen=True)
class ExecSummary:
    """What a run of `exec_file` did.

    verdicts: number of results of each verdict now in the file. kept: how many were there before.
    malformed: one sentence for each line of programs that could not be read.
    """

    verdicts: dict[str, int]
    kept: int
    malformed: tuple[str, ...]


def exec_file(
    programs: str | Path,
    out: str | Path,
    limits: Limits = DEFAULT_LIMITS,
    workers: int = 1,
    isolation: Isolation = DEFAULT_ISOLATION,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExecSummary:
    """Run the programs of one file into another. `on_progress` gets (results there, results to be there).

    SandboxError if a file cannot be read or written, if another process writes to `out`, or if it holds anything but
    results of these programs under these limits; it is then left as it was, or with the results so far.
    """
    programs, out = Path(programs), Path(out)
    if workers < 1:
        raise SandboxError(f"workers is {workers}: give 1 or more")
    jobs: dict[Id, Job] = {}
    malformed: list[str] = []
    for item in _read_programs(programs):
        if isinstance(item, str):
            malformed.append(item)
        else:
            jobs[item[0]] = item[1]
    wanted = {identity: _digest(job, limits, isolation) for identity, job in jobs.items()}
    fd = _open_results(out)
    try:
        verdicts = _resume(fd, out, wanted)
        kept = len(verdicts)
        missing = [identity for identity in wanted if identity not in verdicts]
        in_order = [*verdicts, *missing] == list(wanted)  # not so if programs were inserted since
        report = on_progress or (lambda there, total: None)
        report(kept, len(wanted))
        with closing(run_jobs((jobs[identity] for identity in missing), limits, workers, isolation)) as results:
            for identity, result in zip(missing, results, strict=True):
                _append(fd, out, {"id": identity, "digest": wanted[identity], **result.to_json()})
                verdicts[identity] = result.verdict
                report(len(verdicts), len(wanted))
        if not in_order:
            _rewrite(fd, out, list(wanted))
    finally:
        os.close(fd)
    return ExecSummary(dict(Counter(verdicts.values())), kept, tuple(malformed))


def _read_programs(path: Path) -> Iterator[tuple[Id, Job] | str]:
    """Each program with its id; or, for a line that is none, a sentence with its number."""
    lines: dict[Id, int] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    identity, job = _read_program(line)
                    if identity in lines:
                        raise ValueError(f"the id {identity!r} was used on line {lines[identity]} already")
                except (ValueError, RecursionError) as error:
                    yield f"line {number} of {path} was left out: {error}"
                else:
                    lines[identity] = number
                    yield identity, job
    except OSError as error:
        raise SandboxError(f"cannot read {path}: {error.strerror}; give a JSONL file of programs") from None


def _read_program(line: bytes) -> tuple[Id, Job]:
    try:
        fields = json.loads(line.decode())
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg.removesuffix(' at')} at column {error.colno})") from None
    if not isinstance(fields, dict):
        raise ValueError('it is not an object like {"id": 1, "program": "print(1)"}')
    identity = fields.get("id")
    if not isinstance(identity, str | int) or isinstance(identity, bool):
        raise ValueError('it needs an "id" that is text or an integer')
    source, stdin = fields.get("program"), fields.get("stdin", "")
    if not isinstance(source, str):
        raise ValueError('it needs a "program" that is text')
    if not isinstance(stdin, str):
        raise ValueError('its "stdin" is not text')
    return identity, Job(source, stdin, fields.get("expected", UNSET))


def _digest(job: Job, limits: Limits, isolation: Isolation) -> str:
    parts = [
        job.source,
        job.stdin,
        *([] if job.expected is UNSET else [job.expected]),
        astuple(limits),
        isolation.level,
        isolation.packages,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _open_results(out: Path) -> int:
    """A descriptor of the results, which no other process writes as long as this one holds it."""
    try:
        while True:
            fd = os.open(out, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise SandboxError(f"{out} is not a regular file: name one for the results")
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if out.exists() and os.path.samestat(os.fstat(fd), out.stat()):
                    return fd  # and not a file that its writer replaced before we had the lock
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
    except BlockingIOError:
        raise SandboxError(
            f"another process writes its results to {out}: wait until it ends, or name another file"
        ) from None
    except OSError as error:
        raise SandboxError(f"cannot write {out}: {error.strerror}; name a file in a folder you can write") from None


def _resume(fd: int, out: Path, wanted: dict[Id, str]) -> dict[Id, str]:
    """The verdicts of the results to keep, by id in their order; the file then holds these and no more."""
    verdicts: dict[Id, str] = {}
    clean = True
    remedy = "name another file for the results, or remove it"
    try:
        with out.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n") and _is_piece(line, wanted):
                    clean = False
                    break
                try:
                    fields = json.loads(line)
                    identity, verdict, digest = fields["id"], fields["verdict"], fields["digest"]
                    ours = identity in wanted and digest == wanted[identity] and identity not in verdicts
                except (ValueError, TypeError, KeyError, RecursionError):
                    raise SandboxError(f"line {number} of {out} is not a result: {remedy}") from None
                if not ours:
                    what = "the result of another program, or under other limits"
                    raise SandboxError(f"line {number} of {out} is {what}: {remedy}")
                if verdict == "internal-error":
                    clean = False
                else:
                    verdicts[identity] = verdict
    except OSError as error:
        raise SandboxError(f"cannot read {out}: {error.strerror}; {remedy}") from None
    if not clean:
        _rewrite(fd, out, list(verdicts))
    return verdicts


def _is_piece(line: bytes, wanted: dict[Id, str]) -> bool:
    """Whether a line without an end is what a kill left of one of these results."""
    heads = (json.dumps({"id": identity, "digest": digest})[:-1].encode() for identity, digest in wanted.items())
    return any(head.startswith(line) or line.startswith(head) for head in heads)


def _append(fd: int, out: Path, fields: dict[str, object]) -> None:
    line = json.dumps(fields).encode() + b"\n"
    before = os.fstat(fd).st_size
    try:
        written = os.write(fd, line)
        reason = "the disk is full"
    except OSError as error:
        written, reason = 0, error.strerror
    if written != len(line):
        os.ftruncate(fd, before)
        raise SandboxError(f"cannot write {out}: {reason}; make room and run again, the results so far are kept")


def _rewrite(fd: int, out: Path, order: list[Id]) -> None:
    """Replace the file by its whole lines for these ids, in this order; `fd` is then of the new one, and locked."""
    places: dict[Id, tuple[int, int]] = {}
    new = out.with_name(out.name + ".new")
    try:
        with out.open("rb") as old, new.open("ab") as file:  # appends, as `fd` must
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
            start = 0
            for line in old:
                if line.endswith(b"\n"):
                    fields = json.loads(line)
                    if fields["verdict"] != "internal-error":
                        places[fields["id"]] = (start, len(line))
                start += len(line)
            for identity in order:
                if identity not in places:  # it failed in the sandbox, and will be run again
                    continue
                start, size = places[identity]
                old.seek(start)
                file.write(old.read(size))
            file.flush()
            os.replace(new, out)
            os.dup2(file.fileno(), fd, inheritable=False)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise SandboxError(f"cannot write {new}: {error.strerror}; make room and run again") from None
