"""How fast training data is read: batches of packed rows from a warm page cache, on one core.

    python benchmarks/read_rate.py

What is measured is all that stands between shards on disk and a step: which rows, their tokens, segments, targets and
weights, as a mixture of two parts, 512 rows of 2,048 tokens at a time. Goal: 50 million tokens a second. Beside it one
part alone, a mixture of short rows, the time to reach a step far away, and verifying. Seconds are of processor time, so
that what else runs on the machine does not count; nothing here waits for a disk.

The peer is Hugging Face `datasets`, if it is installed (the `data` extra): the same rows in an Arrow file mapped into
memory, tokens and segments as columns, in an order drawn beforehand; targets and weights are made by the same code.
The last line of output is one JSON object.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from polyturn.data import shards
from polyturn.data.batches import Batch
from polyturn.data.packing import best_fit
from polyturn.data.sampler import Mixture, as_batch
from polyturn.data.shards import About, Rows, Shards

VOCAB, PAD = 8192, 1
GOAL = 50e6
REPEATS = 5


def made(folder: Path, tokens: int, row: int, seed: int) -> Shards:
    """Shards of documents about as long as source files."""
    rng = np.random.default_rng(seed)
    sizes = rng.lognormal(6, 1.3, tokens // 950).astype(int) + 1
    documents = (rng.integers(2, VOCAB, size, np.uint16) for size in sizes)
    packed = best_fit(documents, row, VOCAB, PAD)
    shards.write(folder, [packed], vocab=VOCAB, pad_id=PAD, about=About("", "", len(sizes)))
    return shards.open(folder)


def rate(batch: Callable[[int], Batch], steps: int) -> float:
    """Tokens a second of processor time, the median of some runs; the first, which warms the cache, does not count."""
    rates = []
    for repeat in range(REPEATS + 1):
        begun = time.process_time()
        tokens = sum(batch(repeat * steps + step).tokens.size for step in range(steps))
        rates.append(tokens / (time.process_time() - begun))
    return float(np.median(rates[1:]))


def ours(one: Shards, other: Shards, short: Shards, size: int, steps: int) -> dict[str, float]:
    """Measure Polyturn."""
    mixture = Mixture([(one, 0.7), (other, 0.3)], seed=0)
    alone = Mixture([(one, 1)], seed=0)
    short_size = size * one.index.row // short.index.row
    shorter = Mixture([(short, 1), (short, 1)], seed=0)
    seeks = []
    for step in range(10**12, 10**12 + REPEATS):
        begun = time.process_time()
        mixture.choose(step, 0, size, size)
        seeks.append(time.process_time() - begun)
    begun = time.process_time()
    assert shards.verify(one.folder) == []
    verifying = sum(one.index.sizes().values()) / (time.process_time() - begun)
    return {
        "mixture_tokens_per_s": rate(lambda step: mixture.batch(step, size), steps),
        "one_part_tokens_per_s": rate(lambda step: alone.batch(step, size), steps),
        f"rows_of_{short.index.row}_tokens_per_s": rate(lambda step: shorter.batch(step, short_size), steps),
        "seek_to_step_10^12_s": float(np.median(seeks)),
        "verify_bytes_per_s": verifying,
    }


def peer(one: Shards, folder: Path, size: int, steps: int) -> dict[str, float] | None:
    """Measure `datasets` on the rows of one part; None if it is not installed."""
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        return None
    library: Any = datasets
    tokens, segments, _ = one.read(np.arange(len(one)))
    columns = {"tokens": tokens.astype(np.uint16), "segments": segments.astype(np.uint16)}
    kind = library.Features({name: library.Sequence(library.Value("uint16"), tokens.shape[1]) for name in columns})
    library.disable_progress_bars()
    library.Dataset.from_dict(columns, features=kind).save_to_disk(str(folder))
    rows = library.load_from_disk(str(folder)).with_format("numpy")
    order = np.random.default_rng(0).permutation(len(one))

    def batch(step: int) -> Batch:
        read = rows[order[np.arange(step * size, (step + 1) * size) % len(order)]]
        tokens, segments = read["tokens"].astype(np.int32), read["segments"].astype(np.int32)
        return as_batch(Rows(tokens, segments, segments > 0))

    assert batch(0).targets.shape == (size, tokens.shape[1])
    return {"one_part_tokens_per_s": rate(batch, steps)}


def main() -> None:
    """Measure both sides and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=64_000_000, help="of each part")
    parser.add_argument("--rows", type=int, default=512, help="of a batch")
    parser.add_argument("--steps", type=int, default=40, help="of each run")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # one core, whatever threads there are
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        one, other = (made(folder / name, options.tokens, 2048, seed) for seed, name in enumerate(("one", "other")))
        short = made(folder / "short", options.tokens // 4, 256, 2)
        mine = ours(one, other, short, options.rows, options.steps)
        theirs = peer(one, folder / "peer", options.rows, max(1, options.steps // 10))
    for name, value in mine.items():
        print(f"{name:<36}{value:>16,.6g}")
    print(f"goal for the mixture: {GOAL:,.0f} tokens/s, {mine['mixture_tokens_per_s'] / GOAL:.1f} times reached")
    peers, ratios = {}, {}
    if theirs:
        peers["datasets"] = theirs
        ratios["datasets"] = {name: mine[name] / value for name, value in theirs.items()}
        print(f"datasets, one part: {theirs['one_part_tokens_per_s']:,.0f} tokens/s")
    else:
        print("No peer: install the data extra, which has `datasets`.")
    host = {
        "machine": platform.machine(),
        "cores_used": 1,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    print(json.dumps({"ours": mine, "peers": peers, "ratios": ratios, "host": host}))


if __name__ == "__main__":
    main()
