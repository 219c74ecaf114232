"""The catalogue of attacks: every row's title, the probes that carry it out, and why some rows have none."""

from .channels import CHANNELS
from .cheats import CHEATS
from .denials import DENIALS
from .escapes import ESCAPES
from .liars import LIES
from .probe import Probe

ROWS = {
    1: "an answer that claims to be equal",
    2: "the grader's list of results, by way of frames",
    3: "the grader's shared objects, by way of the collector",
    4: "the expected value, by way of frames",
    5: "the verdict in shared memory",
    6: "the tests or the solution, read",
    7: "exit code 0",
    8: "a forged report on stdout",
    9: "a patched test runner",
    10: "patched functions of the grader",
    11: "overridden builtins of the checker",
    12: "built-in types with lying comparisons",
    13: "arrays whose comparison broadcasts",
    14: "values changed after they were given",
    15: "code in a pickle",
    16: "poison for what is loaded next",
    17: "benchmarks wired wrong",
    18: "memorised tests",
    19: "guards written in Python, undone",
    20: "signals to other processes",
    21: "the memory of other processes",
    22: "secrets of the caller",
    23: "the network",
    24: "files outside",
    25: "links that the grader follows",
    26: "inherited descriptors",
    27: "attacks on the compiler",
    28: "channels between programs",
    29: "native code",
    30: "the death of its process",
    31: "a swallowed timeout",
    32: "a cancelled alarm",
    33: "long calls of C",
    34: "many processes",
    35: "daemons",
    36: "threads that do not end",
    37: "memory bombs",
    38: "memory limits reckoned wrong",
    39: "floods of output",
    40: "waiting for input",
    41: "full disks",
    42: "leaks over many programs",
    43: "verdicts that depend on load or chance",
}

NOT_PROGRAMS = {
    17: "a benchmark that does not use its own tests, or shows them in the prompt, is wrong before any program runs",
    18: "a model that was trained on the tests writes a program that is right as far as a grader can tell",
}

PROBES: tuple[Probe, ...] = tuple(sorted([*LIES, *CHEATS, *ESCAPES, *CHANNELS, *DENIALS], key=lambda probe: probe.row))
