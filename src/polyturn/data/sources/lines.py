"""Lines of plain, gzip and Zstandard files, in bounded memory, and what came before a damage.

Python's own readers lose up to a buffer of what a damaged file still holds, and Zstandard's takes a file that was cut
off for a whole one; so files are unpacked piece by piece here.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from polyturn.utils.errors import UserError

PIECE = 1 << 20  # bytes of a plain file read at once
PACKED_PIECE = 1 << 10  # of a packed file: it may unpack to thirty thousand times as much
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


class CorruptError(Exception):
    """The rest of a file cannot be unpacked."""


def lines(path: str, longest: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes | int]]:
    """Where each line begins, and the line without its end; of one longer than `longest` bytes only the length.

    A line that is too long is not held in memory. Places are bytes of what is unpacked, from 0.

    Args:
        start: only lines that begin here or later; 0 for a packed file.
        stop: only lines that begin before.

    Raises:
        CorruptError: the file is damaged or cut off here; all whole lines before were given.
        OSError: it cannot be read.
    """
    held: list[bytes] = []
    at = max(start - 1, 0)  # where the line begins
    size = 0  # of the line so far; more than `longest`: it is not held any more
    others = start > 0  # the line began before; if all of it did, its end is at `start` - 1
    for piece in _pieces(path, at):
        *ends, rest = piece.split(b"\n")
        for end in ends:
            size += len(end)
            if not others:
                yield at, size if size > longest else b"".join([*held, end])
            at += size + 1
            if stop is not None and at >= stop:
                return
            held.clear()
            size, others = 0, False
        size += len(rest)
        if others and stop is not None and at + size >= stop:
            return
        if others or size > longest:
            held.clear()
        else:
            held.append(rest)
    if size and not others:
        yield at, size if size > longest else b"".join(held)


def is_packed(path: str) -> bool:
    """Whether only the whole of a file can be read, from its beginning on."""
    return path.lower().endswith((".gz", ".zst"))


def _pieces(path: str, start: int) -> Iterator[bytes]:
    if path.lower().endswith(".gz"):
        return _unpacked(path, lambda: zlib.decompressobj(wbits=31), zlib.error)
    if path.lower().endswith(".zst"):
        try:
            import zstandard
        except ImportError:
            raise UserError(f"{path} needs zstandard; install polyturn[data].") from None
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 31)  # as large as `zstd --long=31` makes them
        return _unpacked(path, unpacker.decompressobj, zstandard.ZstdError)
    return _plain(path, start)


def _plain(path: str, start: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        file.seek(start)
        while piece := file.read(PIECE):
            yield piece


def _unpacked(path: str, new: Callable[[], Any], error: type[Exception]) -> Iterator[bytes]:
    """The pieces of a packed file; it may be several packed files, one behind the other."""
    with open(path, "rb") as file:
        frame, begun = new(), True  # a packed file of no bytes was cut off too
        while piece := file.read(PACKED_PIECE):
            while piece:
                begun = True
                try:
                    yield frame.decompress(piece)
                except error as damage:
                    raise CorruptError(str(damage)) from None
                piece = frame.unused_data
                if frame.eof:
                    frame, begun = new(), False
        if begun:
            raise CorruptError("it was cut off")
