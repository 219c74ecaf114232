"""Many programs in one child: the same results as one by one, and each one's trouble its own."""

import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyturn.sandbox import Limits, Result, SandboxError, run_batch, run_program
from polyturn.sandbox.layers import required
from polyturn.sandbox.pool import close_idle

names = st.sampled_from(["x", "total", "items"])
literals = st.recursive(
    st.integers() | st.booleans() | st.text(alphabet="ab'\"\n\u00e9", max_size=4) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=4,
).map(lambda value: repr(value).replace("inf", "1e999"))
statements = st.one_of(
    st.builds("{} = {}".format, names, literals),
    st.builds("print({}, {})".format, literals, literals),
    st.builds("print({})".format, literals),
    st.builds("print({})".format, names),
    st.builds("print({}, end={!r})".format, literals, st.sampled_from(["", ";"])),
    st.builds("{} / {}".format, names, literals),
    st.builds("import sys; sys.exit({})".format, literals),
    st.just("import sys; print('aside', file=sys.stderr)"),
    st.just("def f(n):\n    return f(n + 1)\n\nf(0)"),
    st.just("x = input()"),
    st.just("print(__name__, sorted(globals()))"),
    st.just("import builtins; builtins.len = builtins.print = None"),
    st.just("if x = 1"),
)
programs = st.lists(statements, min_size=1, max_size=5).map("\n".join)


def told(result: Result) -> tuple[object, ...]:
    """What a result says of the program, without what varies from run to run."""
    return (
        result.verdict,
        result.stdout,
        result.stderr,
        repr(result.printed),
        result.last_text,
        result.error,
    )


@settings(max_examples=6, deadline=None)
@given(st.lists(programs, min_size=1, max_size=6))
def test_a_batch_gives_what_the_programs_give_one_by_one(sources: list[str]) -> None:
    assert [told(result) for result in run_batch(sources)] == [told(run_program(source)) for source in sources]


TROUBLE = {
    "import ctypes; ctypes.string_at(0)": "error",
    "import os; os._exit(3)": "error",
    "while True: pass": "timeout",
    "while True:\n    try:\n        while True: pass\n    except BaseException: pass": "timeout",
    "import time; time.sleep(60)": "timeout",
    "import threading; threading.Thread(target=threading.Event().wait).start()": "timeout",
    "x = [0] * 10**10": "memory",
    "while True: print('x' * 1000)": "output-limit",
    "import os\nwhile True: os.write(1, b'x' * 1000)": "output-limit",
    "import contextlib, os\nfor fd in range(3, 256):\n    with contextlib.suppress(OSError):\n"
    "        os.write(fd, b'nonsense')": "forbidden",
    "import os; os.closerange(0, 256)": "error",
    "import os; os.kill(os.getpid(), 9)": "error",
}


def test_trouble_costs_only_the_program_that_made_it() -> None:
    sources, expected = [], []
    for number, (source, verdict) in enumerate(TROUBLE.items()):
        sources += [f"print({number})", source]
        expected += ["passed", verdict]
    sources.append("print('end')")
    results = run_batch(sources, Limits(cpu_s=0.3, wall_s=1))
    assert [result.verdict for result in results] == [*expected, "passed"]
    for number in range(len(TROUBLE)):
        assert results[2 * number].printed == ((number,),)
        assert results[2 * number].stdout == f"{number}\n"
    assert results[-1].stdout == "end\n"


@pytest.mark.parametrize(
    "leave",
    [
        "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "import atexit; atexit.register(print, 'bye')",
        "import os, time\nif os.fork() == 0: time.sleep(60)",
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)",
        "import os\nif os.fork() == 0: print('copy')",
        "open('left', 'w').close()",
        "import os; os.chdir('/')",
        "import sys; sys.stdout = sys.stdin = None",
        "import sys; sys.setrecursionlimit(50)",
        "import sys; sys.settrace(lambda *a: None)",
        "class A:\n    def __del__(self): print('gone')\na = A()\na.self = a",
        "import builtins; builtins.len = None; x = 1",
    ],
)
def test_what_a_program_leaves_does_not_reach_the_next(leave: str) -> None:
    probe = (
        "import atexit, os, sys, threading\n"
        "print(threading.active_count(), atexit._ncallbacks(), os.listdir('.'))\n"
        "print(os.getcwd() == os.environ['HOME'])\n"
        "print(sys.getrecursionlimit() // 100, sys.gettrace(), len('ab'), 'x' in globals(), __name__)\n"
        "try:\n    os.waitpid(-1, os.WNOHANG)\nexcept ChildProcessError:\n    print('alone')"
    )
    first, second = run_batch([leave, probe])
    assert first.verdict == "passed"
    assert told(second) == told(run_batch([probe])[0])
    assert second.stdout == "1 0 []\nTrue\n10 None 2 False __main__\nalone\n"


def test_limits_hold_for_each_program_and_not_for_their_sum() -> None:
    busy = "import time\nend = time.process_time() + 0.15\nwhile time.process_time() < end: pass"
    results = run_batch([busy] * 6, Limits(cpu_s=0.5, output_bytes=20))
    assert [result.verdict for result in results] == ["passed"] * 6
    assert all(0.1 < result.cpu_s < 0.4 for result in results)
    assert [r.verdict for r in run_batch(["print('x' * 15)"] * 3, Limits(output_bytes=20))] == ["passed"] * 3


def cpu_seconds() -> float:
    """CPU time of this process and of all workers, which are ended to be counted."""
    close_idle()
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def test_a_program_of_a_batch_costs_half_a_millisecond_at_most() -> None:
    """In CPU time, caller and worker together, so that a busy machine does not matter."""
    sources = [f"xs = [{i}, 2]\nprint(sum(xs))" for i in range(3000)]
    begin = cpu_seconds()
    run_batch(sources[:1])
    start = cpu_seconds()  # what a worker costs that does nothing
    results = run_batch(sources)
    end = cpu_seconds()
    assert (end - start) - (start - begin) < len(sources) * 0.0005
    assert [result.printed for result in results] == [((i + 2,),) for i in range(len(sources))]


def test_programs_of_a_batch_are_held_by_the_same_layers_as_others() -> None:
    results = run_batch(["print(1)", "1 / 0", "import os; os._exit(1)", "print(2)"])
    assert {result.layers for result in results} == {run_program("print(1)").layers}
    assert set(required("full")) <= set(results[0].layers)


def test_the_edges() -> None:
    assert run_batch([]) == []
    with pytest.raises(SandboxError, match="must be text"):
        run_batch(["print(1)", b"print(2)"])  # pyright: ignore[reportArgumentType]
    assert [result.verdict for result in run_batch(["print(1)\0", "\ud800", ""])] == [
        "error",
        "error",
        "passed",
    ]


def test_a_host_without_room_is_an_internal_error_for_all() -> None:
    run_batch(["print(1)"])  # the worker is there
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        results = run_batch(["print(1)"] * 3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [result.verdict for result in results] == ["internal-error"] * 3
    assert [result.verdict for result in run_batch(["print(1)"] * 3)] == ["passed"] * 3
