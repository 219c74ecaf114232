"""The samples of a run: what was drawn, one JSON object a line, and what it was drawn with.

    DIR/run.json                      the settings
    DIR/samples/MODE-tTEMPERATURE.jsonl

A line has at least `task_id` and `completion`, so that HumanEval's own tools read the file. `sample` counts the samples
of a case from 0, `case` the cases of a problem from 1, `turn` says which turn an oracle sample is for. `codes`,
`ended_by` and `tokens` have an entry for each turn.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from polyturn.bench.script import PROTOCOL
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import Journal, read_jsonl
from polyturn.utils.lock import hold

SCHEMA = 2
WHOLE = "0/1"  # the shard that is all of a run
REMEDY = "remove the line, and the same `polyturn bench run` draws its sample again"  # of a damaged line


class Key(NamedTuple):
    """Which sample: `turn` is 0 where a sample is for all turns, else the turn it is for, from 1."""

    task: str
    case: int
    sample: int
    turn: int = 0


@dataclass(frozen=True)
class Sample:
    """What a model wrote for one case.

    completion: a completion of the task's prompt, or the whole program of a multi-turn problem. codes: of each turn.
    ended_by: the truncation rule that ended each turn (`truncate`), "length", "context" where the model's context was
        full, or None where the model ended it. tokens: drawn for each turn, or None where they were not counted.
    """

    key: Key
    completion: str
    codes: tuple[str, ...] = ()
    ended_by: tuple[str | None, ...] = ()
    tokens: tuple[int | None, ...] = ()

    @property
    def too_long(self) -> bool:
        """Whether the model's context was full before all was written. Then it is no whole program, and never run."""
        return "context" in self.ended_by

    def to_json(self) -> dict[str, object]:
        """The line of a samples file."""
        key = {"task_id": self.key.task, "case": self.key.case, "sample": self.key.sample}
        if self.key.turn:
            key["turn"] = self.key.turn
        return {
            **key,
            "completion": self.completion,
            "codes": list(self.codes),
            "ended_by": list(self.ended_by),
            "tokens": list(self.tokens),
        }


def from_json(record: Mapping[str, Any], where: str) -> Sample:
    """The sample of a line. Raises UserError, naming `where`, for one that is none."""
    try:
        key = Key(str(record["task_id"]), record["case"], record["sample"], record.get("turn", 0))
        codes, ended_by, tokens = (tuple(record[name]) for name in ("codes", "ended_by", "tokens"))
        whole = isinstance(record["completion"], str) and all(isinstance(code, str) for code in codes)
        whole = whole and all(rule is None or isinstance(rule, str) for rule in ended_by)
        if not whole or not all(type(n) is int for n in key[1:]):
            raise TypeError
    except (KeyError, TypeError):
        raise UserError(f"{where} is not a sample of this version; {REMEDY}.") from None
    return Sample(key, record["completion"], codes, ended_by, tokens)


def samples_path(folder: Path, mode: str, temperature: float | None) -> Path:
    """Where the samples of a mode and temperature are; those of another tool have no temperature."""
    return folder / "samples" / (f"{mode}.jsonl" if temperature is None else f"{mode}-t{temperature!r}.jsonl")


def whole_samples(path: Path) -> list[Sample]:
    """`read_samples` of a file that nobody writes to, after what a kill left of a last line was taken off."""
    with Journal(path, REMEDY):
        return list(read_samples(path))


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples of a file that a run wrote. Raises UserError like `from_json`, and for a sample there twice."""
    seen: set[Key] = set()
    for number, record in read_jsonl(path, REMEDY):
        sample = from_json(record, f"Line {number} of {path}")
        if sample.key in seen:
            raise UserError(f"Line {number} of {path} repeats a sample; remove one of the two lines.")
        seen.add(sample.key)
        yield sample


def read_foreign(path: Path) -> Iterator[Sample]:
    """The samples of another tool's file: `task_id` with `completion`, or with `solution`, a whole program.

    That is how HumanEval's own tools and EvalPlus write them; a multi-turn problem has a `case` too, from 1, and its
    completion is the whole program. Samples are numbered as they come. A `solution` has no `codes`. Lines that we wrote
    keep theirs, and what ended them.

    Raises:
        UserError: a line has neither, or not as text; or it is for one turn of a program, as those of mode oracle.
    """
    counts: dict[tuple[str, int], int] = {}
    for number, record in read_jsonl(path):
        text, case = record.get("completion", record.get("solution")), record.get("case", 1)
        if "task_id" not in record or not isinstance(text, str) or type(case) is not int:
            raise UserError(f"Line {number} of {path} needs a task_id and a completion (or solution) that is text.")
        if "turn" in record:
            raise UserError(
                f"Line {number} of {path} is for one turn of a program, and such samples count together; "
                "grade the folder of the run that drew it."
            )
        task = str(record["task_id"])
        counts[task, case] = counts.get((task, case), -1) + 1
        key = Key(task, case, counts[task, case])
        if "codes" in record:
            ours = from_json({"sample": 0, "case": 1, **record}, f"Line {number} of {path}")
            yield replace(ours, key=key)
        else:
            yield Sample(key, text, (text,) if "completion" in record else ())


# ---- settings


@dataclass(frozen=True)
class Settings:
    """What defines the samples of a run: another call may add samples to a folder only if all of this is the same."""

    benchmark: str
    data: str  # digest of the file
    model: str
    digest: str | None  # of the model; None for an endpoint, which does not tell
    endpoint: str | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    chat: bool = False
    protocol: int = PROTOCOL  # of what the model was asked, and where its text was cut
    shard: str = WHOLE
    drawn_with: str = ""  # versions of what drew the first sample; the only field that may differ


def locked(folder: Path) -> AbstractContextManager[None]:
    """Hold a folder for this process alone; it is made if it is not there. Raises UserError like `lock.hold`."""
    return hold(folder, f"Another command draws or grades in {folder}; wait until it ends.")


def foreign_files(folder: Path) -> list[str]:
    """What a folder holds besides hidden files, the lock and what a killed write left. UserError for a file."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder.")
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def open_run(folder: Path, settings: Settings) -> None:
    """Begin a run in a folder, or go on with it. Raises UserError like `check_run`."""
    check_run(folder, settings)
    path = folder / "run.json"
    if not path.exists() or not _begun(folder):
        write_text(path, json.dumps({"schema": SCHEMA, **asdict(settings)}, indent=2) + "\n")


def check_run(folder: Path, settings: Settings, unknown: Collection[str] = ()) -> None:
    """Raise UserError where a folder holds a run with other settings, or something else.

    A run without a sample, as an endpoint's wrong address leaves one, binds nobody. unknown: names of settings that are
    not known yet, and not compared.
    """
    if not (folder / "run.json").exists():
        if foreign_files(folder):
            raise UserError(f"{folder} holds files but no run; choose a new folder.")
        return
    if not _begun(folder):
        return
    there = asdict(read_settings(folder))
    for name, wanted in asdict(settings).items():
        if there[name] != wanted and name not in ("drawn_with", *unknown):
            told = f"{folder} holds a run with {name} {there[name]}, not {wanted}"
            raise UserError(f"{told}; choose a new folder, or remove this one.")


def _begun(folder: Path) -> bool:
    """Whether a run holds a sample, or what a kill left of one."""
    return any(path.stat().st_size for path in (folder / "samples").glob("*.jsonl"))


def read_settings(folder: Path) -> Settings:
    """The settings of a run. Raises UserError where there is none, or one of another version."""
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{folder} holds no run ({error.strerror}: run.json); give the folder of `bench run`."
        ) from None
    except ValueError:
        raise UserError(f"{path} is damaged; draw the samples anew in another folder.") from None
    if not isinstance(record, dict) or record.pop("schema", None) != SCHEMA:
        raise UserError(f"{path} is of another version (its schema is not {SCHEMA}); use the version that wrote it.")
    try:
        return Settings(**record)
    except TypeError:
        raise UserError(f"{path} is damaged; draw the samples anew in another folder.") from None


def in_order(samples: Iterable[Sample], tasks: Iterable[str]) -> list[Sample]:
    """Samples in the order of the benchmark, then case, turn and sample. All tasks must be known."""
    places = {task: place for place, task in enumerate(tasks)}
    return sorted(samples, key=lambda s: (places[s.key.task], s.key.case, s.key.turn, s.key.sample))
