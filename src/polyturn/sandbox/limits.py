"""What a program may use, how it is to be isolated, and the one exception of this room."""

from dataclasses import dataclass
from typing import Literal, get_args

from .values import shown

MOST_OUTPUT = 256 << 20

type Level = Literal["full", "light"]


class SandboxError(Exception):
    """A mistake of the caller or of the host: one sentence with the remedy. Never the program's doing."""


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    cpu_s: CPU time, seconds, about a millisecond of its own start included; the clock of the `timeout` verdict. Of
        processes that it starts, all count where there is a cgroup; else those that have ended before it, or that it
        leaves behind at an honest end, and the others only have their own limit, about twice this one, and end with it.
    wall_s: wall time, seconds; a backstop for programs that wait. By default `max(3 * cpu_s, 5)`. One that computes
        when it is over, on a busy machine, may go on while it does, up to four times as long (not in a batch).
    memory_mb: address space on top of the bare interpreter's, MiB (Linux).
    output_bytes: bytes on stdout, and as many on stderr; the record of printed values is bounded to match. At most
        256 MiB: a result holds all of them, and the record besides.

    Raises SandboxError for a limit that is not a positive number below 2**40, the last two whole ones.
    """

    cpu_s: float = 5.0
    wall_s: float | None = None
    memory_mb: int = 1024
    output_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        numbers = {"cpu_s": int | float, "wall_s": int | float, "memory_mb": int, "output_bytes": int}
        for name, kind in numbers.items():
            value = getattr(self, name)
            if name == "wall_s" and value is None:
                continue
            if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < 1 << 40:
                whole = "whole " if kind is int else ""
                raise SandboxError(f"the limit {name} is {shown(value)}: give a positive {whole}number below 2**40")
        if self.output_bytes > MOST_OUTPUT:
            raise SandboxError(f"the limit output_bytes is {self.output_bytes}: give at most {MOST_OUTPUT} (256 MiB)")

    @property
    def wall_clock_s(self) -> float:
        """The wall limit in force, seconds."""
        return max(3 * self.cpu_s, 5.0) if self.wall_s is None else self.wall_s


@dataclass(frozen=True)
class Isolation:
    """What must hold a program.

    level: `full`, namespaces and all; or `light`, without namespaces, for hosts that refuse them (`layers.py`).
    allow_weaker: run with the strongest layers this host gives, where by default a missing one is a SandboxError.
    packages: what programs may import besides the standard library, with what these packages need.

    Raises SandboxError for an unknown level.
    """

    level: Level = "full"
    allow_weaker: bool = False
    packages: tuple[str, ...] = ("numpy",)

    def __post_init__(self) -> None:
        levels = get_args(Level.__value__)
        if self.level not in levels:
            raise SandboxError(f"there is no isolation {self.level!r}: give {' or '.join(levels)}")


DEFAULT_LIMITS = Limits()
DEFAULT_ISOLATION = Isolation()
