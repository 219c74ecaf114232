"""Builds as a command: the same on each engine, whatever is killed, interrupted or refused, and nothing left behind.

Each is a session of its own, by which every process that came of it is found, also those of Ray.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from small_builds import bytes_of, command, finish

pytestmark = pytest.mark.slow
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")

type Small = dict[str, str]  # the environment of small pieces
type Bytes = dict[str, bytes]  # what an unbroken build leaves


@contextmanager
def started(arguments: list[str], small: Small) -> Iterator[subprocess.Popen[str]]:
    """A build that is killed with its group where it has not ended. Nothing of it may stay."""
    with subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=small,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: not processes(process))


def processes(build: subprocess.Popen[str], *names: str) -> list[int]:
    """The processes of a build that are alive; where names are given, those whose command line holds one of them."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
            said = (place / "cmdline").read_text()
            if int(session) == build.pid and state not in "XZ" and (not names or any(name in said for name in names)):
                found.append(int(place.name))
    return sorted(found)


def kill(*workers: int) -> None:
    for worker in workers:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(worker, signal.SIGKILL)


def wait_until(holds: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize(("runner", "workers"), [("native", 1), ("native", 4), ("ray", 1), ("ray", 4)])
def test_the_command_line_on_each_engine(
    config: Path, small: Small, built_small: Bytes, tmp_path: Path, runner: str, workers: int
) -> None:
    assert finish(config, tmp_path / "out", runner, workers, small) == built_small


@pytest.mark.parametrize("runner", ["plain", "native"])
def test_killed_after_any_part_a_build_ends_the_same(
    config: Path, small: Small, built_small: Bytes, tmp_path: Path, runner: str
) -> None:
    out = tmp_path / "out"
    for parts in (1, 15, 35, 50):
        with started(command(config, out, runner, 2), small) as process:
            wait_until(lambda: len(list(out.glob("work/*/*"))) >= 2 * parts or process.poll() is not None)  # noqa: B023
    assert finish(config, out, runner, 2, small) == built_small


@pytest.mark.parametrize(("runner", "kills"), [("native", 3), ("ray", 2)])
def test_killed_at_random_moments_a_build_ends_the_same(
    config: Path, small: Small, built_small: Bytes, tmp_path: Path, runner: str, kills: int
) -> None:
    """Several times in a row. A build that is faster than its kill has to be right, and another one is begun."""
    begun = time.monotonic()
    with started(command(config, tmp_path / "unbroken", runner, 2), small) as process:
        wait_until(lambda: list(tmp_path.glob("unbroken/work/read/*")))
        start = time.monotonic() - begun  # of any run, before it does anything
        process.communicate(timeout=600)
        whole = time.monotonic() - begun
    assert bytes_of(tmp_path / "unbroken") == built_small
    chance = random.Random(0)
    folders = (tmp_path / str(number) for number in range(20))
    out, killed, left = next(folders), 0, whole
    while killed < kills:
        with started(command(config, out, runner, 2), small) as process:
            moment = chance.uniform(0, left)
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            ended = process.poll() is not None
        if ended:
            assert process.returncode == 0
            assert bytes_of(out) == built_small
            out, killed, left = next(folders), 0, whole
        else:
            killed += 1
            left -= max(moment - start, 0)
    assert finish(config, out, runner, 2, small) == built_small


WORKERS = ("udf_worker", "spawn_main")


@needs_proc
@pytest.mark.parametrize("runner", ["plain", "native"])
@pytest.mark.parametrize("moment", ["as it starts", "at work"])
def test_a_killed_worker_is_one_sentence(
    config: Path, small: Small, built_small: Bytes, tmp_path: Path, runner: str, moment: str
) -> None:
    out = tmp_path / "out"
    with started(command(config, out, runner, 1), small) as process:
        if moment == "at work":
            wait_until(lambda: list(out.glob("work/read/*")))
        wait_until(lambda: processes(process, *WORKERS))
        kill(*processes(process, *WORKERS))
        _, told = process.communicate(timeout=120)
    assert process.returncode == 2, told
    assert told.strip().splitlines()[-1].startswith("polyturn data build: ")
    assert "Traceback" not in told
    assert "goes on where it was" in told
    assert finish(config, out, runner, 2, small) == built_small


@needs_proc
@pytest.mark.parametrize("runner", ["plain", "native"])
def test_whenever_a_worker_is_killed_a_build_ends(
    config: Path, small: Small, built_small: Bytes, tmp_path: Path, runner: str
) -> None:
    """With a sentence, or, where that worker had done its part, as if nothing had been."""
    out, chance = tmp_path / "out", random.Random(1)
    for _ in range(4):
        with started(command(config, out, runner, 2), small) as process:
            wait_until(lambda: processes(process, *WORKERS) or process.poll() is not None)
            time.sleep(chance.uniform(0, 4))
            kill(*processes(process, *WORKERS)[:1])
            _, told = process.communicate(timeout=120)
        assert process.returncode == 0 or (process.returncode == 2 and "goes on where it was" in told), told
    assert finish(config, out, runner, 2, small) == built_small


@needs_proc
def test_ray_does_the_work_of_a_killed_worker_again(
    config: Path, small: Small, built_small: Bytes, tmp_path: Path
) -> None:
    with started(command(config, tmp_path / "out", "ray", 2), small) as process:
        wait_until(lambda: list((tmp_path / "out").glob("work/read/*")))
        kill(processes(process, "ray::UDFActor")[0])
        _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert bytes_of(tmp_path / "out") == built_small


@pytest.mark.parametrize("runner", ["plain", "native"])
def test_ctrl_c_ends_a_build_that_goes_on(
    config: Path, small: Small, built_small: Bytes, tmp_path: Path, runner: str
) -> None:
    out = tmp_path / "out"
    with started(command(config, out, runner, 2), small) as process:
        wait_until(lambda: list(out.glob("work/read/*")))
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert told.rstrip().splitlines()[-1] == "Stopped; the same command goes on where it was."
    assert finish(config, out, runner, 2, small) == built_small


@pytest.mark.parametrize(("runner", "most"), [("plain", 2_000), ("plain", 9_000), ("native", 9_000)])
def test_a_full_disk_is_one_sentence(
    config: Path, small: Small, built_small: Bytes, tmp_path: Path, runner: str, most: int
) -> None:
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); "
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    arguments = [sys.executable, "-c", limited, str(most), *command(config, tmp_path / "out", runner, 2)]
    with started(arguments, small) as process:
        _, told = process.communicate(timeout=120)
    assert process.returncode == 2, told
    assert "Traceback" not in told
    assert told.strip().splitlines()[-1].startswith("polyturn data build: ")
    assert finish(config, tmp_path / "out", runner, 2, small) == built_small
