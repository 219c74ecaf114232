"""Reads one child from start to end without trusting it. Parent side.

All pipes are non-blocking and bounded: what a child sends beyond a limit is not kept, and ends it. The end of
a pipe is never waited for, since a process that the program left behind may hold it open for ever; what ends
the reading is the child's exit, a limit, or the clock. Frames are decoded as JSON and checked by the caller;
one that is malformed or too large is the program's doing, for our part of the child writes no such thing.
"""

import json
import os
import resource
import selectors
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import processes
from .limits import Limits, SandboxError
from .spawn import LAYERS, Child, spawn

_START_S = 60.0  # until the child's limits hold; a machine under load needs seconds
_GRACE_S = 2.0  # from the last outcome to the child's exit
_TICK_S = 0.02
_NAP_S = 0.0002
_CHUNK = 1 << 16


@dataclass
class Ending:
    """What the parent saw of a child.

    layers: empty if the child never said that its limits hold; `trouble` then says why.
    status: exit code, or minus the signal; None if unknown.
    stdout, stderr: at most the limit each; flooded: there was more.
    overspent: it used up its CPU time. overdue: the wall clock ran out.
    late: one of these was found, but that program had just ended; the next one was stopped, without blame.
    cancelled: the caller asked to stop.
    tampered: what was wrong with a frame.
    cpu_s, wall_s: of the program that ran last. memory_mb: the highest peak seen from outside.
    """

    layers: tuple[str, ...] = ()
    trouble: str = ""
    status: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    flooded: bool = False
    overspent: bool = False
    overdue: bool = False
    late: bool = False
    cancelled: bool = False
    tampered: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0


def run_child(
    programs: list[str],
    limits: Limits,
    on_outcome: Callable[[dict[str, Any]], None],
    *,
    stdin: str = "",
    batch: bool = False,
    cancel: threading.Event | None = None,
) -> Ending:
    """Run programs in one child, calling `on_outcome` with the frame of each as it arrives.

    `on_outcome` raises ValueError for a frame that no honest child would send. Trouble of this host (no
    memory, no disk) is told in the ending; SandboxError is raised where there is no interpreter to start.
    """
    if not sys.executable:
        raise SandboxError("sys.executable is empty: start Python itself, not a program that embeds it")
    request = {
        "programs": programs,
        "batch": batch,
        "cpu_s": float(limits.cpu_s),
        "memory_mb": limits.memory_mb,
        "output_bytes": limits.output_bytes,
        "processes": processes.task_limit(),
        "packages": [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")],
        "parent": os.getpid(),
    }
    try:
        with spawn(request, stdin) as child:
            # Escaped at their worst: the record (4), the last text (6), a batch's stdout and stderr (6 each).
            most = (22 if batch else 10) * limits.output_bytes + (1 << 20)
            return _Reading(child, limits, len(programs), most, on_outcome).to_the_end(cancel)
    except OSError as error:
        return Ending(trouble=f"the host cannot run a child: {error}")


class _Reading:
    """The state of reading one child."""

    def __init__(
        self,
        child: Child,
        limits: Limits,
        outcomes: int,
        frame_limit: int,
        on_outcome: Callable[[dict[str, Any]], None],
    ) -> None:
        self.child = child
        self.limits = limits
        self.outcomes = outcomes  # still to come
        self.frame_limit = frame_limit
        self.on_outcome = on_outcome
        self.ending = Ending()
        self.output = {child.stdout: bytearray(), child.stderr: bytearray()}
        self.frames = bytearray()
        self.clean = False  # the last outcome said that no process is left
        self.clock = 0.0  # CPU time of the child when the running program began
        self.since = time.monotonic()  # when it began
        self.deadline = self.since + _START_S

    def to_the_end(self, cancel: threading.Event | None) -> Ending:
        ending = self.ending
        sampled, nap = 0.0, _NAP_S
        with selectors.DefaultSelector() as selector:
            for fd in (*self.output, self.child.results):
                selector.register(fd, selectors.EVENT_READ)
            while not self.child.exited() and not self._stopped():
                now = time.monotonic()
                used = processes.cpu_seconds(self.child.pid) if ending.layers and self.outcomes else None
                ending.overspent = used is not None and used - self.clock > self.limits.cpu_s
                ending.overdue = now > self.deadline
                ending.cancelled = cancel is not None and cancel.is_set()
                if ending.overspent or ending.overdue or ending.cancelled:
                    break
                if now - sampled > 2 * _TICK_S:
                    sampled = now
                    ending.memory_mb = max(ending.memory_mb, processes.peak_memory_mb(self.child.pid))
                # With all outcomes in, or all pipes closed, the exit is near, and no pipe will announce it.
                if self.outcomes == 0 or not selector.get_map():
                    wait = nap = min(2 * nap, _TICK_S)
                else:
                    wait = _TICK_S
                for key, _ in selector.select(wait):
                    if self._read(key.fd) == 0:
                        selector.unregister(key.fd)
        if self.outcomes:
            ending.wall_s = time.monotonic() - self.since
        self.child.end()
        if not self.clean:
            processes.kill_started_from(self.child.home)
        for fd in (*self.output, self.child.results):  # what is still in the pipes
            while not self._stopped() and self._read(fd):
                pass
        self._conclude()
        return ending

    def _stopped(self) -> bool:
        return self.ending.flooded or bool(self.ending.tampered)

    def _read(self, fd: int) -> int | None:
        """Take what a pipe holds, up to a chunk. Returns its size: 0 at the end, None for nothing now."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return None
        if fd == self.child.results:
            self.frames += data
            self._take_frames()
        else:
            kept, most = self.output[fd], self.limits.output_bytes
            kept += data
            if len(kept) > most:
                del kept[most:]
                self.ending.flooded = True
        return len(data)

    def _take_frames(self) -> None:
        while len(self.frames) >= 4 and not self.ending.tampered:
            size = int.from_bytes(self.frames[:4], "big")
            if self.outcomes == 0:
                self.ending.tampered = "a result after the last one"
            elif size > self.frame_limit:
                self.ending.tampered = f"a result of {size} bytes"
            elif len(self.frames) < 4 + size:
                return
            else:
                body = bytes(self.frames[4 : 4 + size])
                del self.frames[: 4 + size]
                self._accept(body)

    def _accept(self, body: bytes) -> None:
        now = time.monotonic()
        try:
            frame = json.loads(body)
            if not isinstance(frame, dict):
                raise ValueError("a result that is not an object")
            if self.ending.layers:
                self.on_outcome(frame)
                self.outcomes -= 1
                self.ending.wall_s = now - self.since
                self.clean = self.outcomes == 0 and frame["children"] is False
            else:  # the first frame, sent before any line of a program ran
                watched = processes.cpu_seconds(self.child.pid) is not None
                self.ending.layers = (*LAYERS, *(["cpu-clock"] if watched else []), *frame["layers"])
        except (ValueError, RecursionError) as error:
            self.ending.tampered = f"a result that cannot be read: {error}"[:200]
            return
        if self.ending.overspent or self.ending.overdue:
            self.ending.overspent = self.ending.overdue = False
            self.ending.late = True
        if self.outcomes:
            self.clock = float(frame["clock"])
            self.since = now
        self.deadline = now + (self.limits.wall_clock_s if self.outcomes else _GRACE_S)

    def _conclude(self) -> None:
        ending, usage = self.ending, self.child.usage
        ending.status = self.child.status
        ending.overdue = ending.overdue and self.outcomes > 0
        ending.stdout, ending.stderr = (bytes(kept) for kept in self.output.values())
        if usage is not None:
            ending.cpu_s = max(0.0, usage.ru_utime + usage.ru_stime - self.clock)
            # A child begins with the peak of its parent (guard.peak_memory_mb): only a higher one is its own.
            if usage.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
                unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
                ending.memory_mb = max(ending.memory_mb, usage.ru_maxrss / unit)
        if not ending.layers:
            words = ending.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing on stderr"]
            ending.trouble = f"the child ended before its limits held (status {ending.status}): {words[-1]}"
