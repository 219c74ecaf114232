"""How many tokens a second training takes in, at three sizes, beside Hugging Face CodeGen in torch.

    python benchmarks/train_rate.py --peer-python .venv-parity/bin/python
    python benchmarks/train_rate.py --peer-python .venv-parity/bin/python --sizes 12M --seconds 20    # a quick look

A step is all of it: loss, gradients, clipping, AdamW, in bfloat16 with float32 weights, on rows of 512 random tokens.
Ours cuts each row into documents that do not see each other; the peer's rows are one document each, which is less work
for it. The peer is `CodeGenForCausalLM` of transformers under torch's autocast, with its fused AdamW and the same
clipping. `xla` is what `polyturn train` does by default, `native` the same with the C++ products
(`Compute(products="native")`); where those cannot be built the reason is printed and the figure left out.

Ours runs with huge pages (`HUGE_PAGES`, see docs/cpu.md), as the documentation advises; the peer without, because it
becomes slower with them. `--plain` runs ours without.

Both programs stay up and take turns of some seconds each, so that whatever else the machine does meets all alike; a
rate is of the median turn, with quartiles beside it. The first step of a turn is not counted: memory that a step has
given back may meanwhile have gone to others, on a virtual machine even to its host, which a run that nobody interrupts
does not see.

12M is 6 layers of width 320 with 8,192 tokens, 42M is 8 of 512 with 16,384, 350M is CodeGen-350M (20 of 1,024 with
51,200; 4 rows a step instead of 8, which takes 21 GiB of memory for the two programs). Without --peer-python (an
environment with torch and transformers, such as the one of `make test-parity`) there is no peer. The last line of
output is one JSON object.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

LENGTH = 512
TURN_S = 6.0
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
DOCUMENTS = (64, 448)  # shortest and longest of those that share our rows
SHAPES = {
    "12M": {"layers": 6, "width": 320, "heads": 4, "rotary": 32, "vocab": 8192},
    "42M": {"layers": 8, "width": 512, "heads": 8, "rotary": 32, "vocab": 16384},
    "350M": {"layers": 20, "width": 1024, "heads": 16, "rotary": 32, "vocab": 51200},
}
ROWS = {"12M": 8, "42M": 8, "350M": 4}

Step = Callable[[], None]  # take one step and wait for it


def ours(size: str) -> dict[str, Step]:
    """Our steps, by the name of the products; they share one state."""
    import jax
    import numpy as np

    from polyturn.data.batches import with_targets
    from polyturn.model.compute import Compute
    from polyturn.model.config import ModelConfig
    from polyturn.train.config import OptimizerConfig, TrainConfig
    from polyturn.train.step import start, train_step
    from polyturn.utils.errors import UserError

    draw = np.random.default_rng(0)
    shape = (ROWS[size], LENGTH)
    segments = np.zeros(shape, np.int32)
    for row in segments:
        ends = np.cumsum(draw.integers(*DOCUMENTS, LENGTH // DOCUMENTS[0]))
        row[:] = np.searchsorted(ends, np.arange(LENGTH), side="right")
    tokens = draw.integers(0, SHAPES[size]["vocab"], shape)
    batch = with_targets(tokens, segments, np.ones(shape, bool))
    state: Any = None

    def step(config: TrainConfig) -> None:
        nonlocal state
        state, metrics = train_step(config, state, batch)
        jax.block_until_ready((state, metrics))

    steps: dict[str, Step] = {}
    for products in ("xla", "native"):
        config = TrainConfig(
            ModelConfig(**SHAPES[size]),
            OptimizerConfig(1e-4, 1e-5, 1),
            steps=1000,
            rows=ROWS[size],
            compute=Compute(products=products, attention="striped"),
        )
        state = start(config) if state is None else state
        try:
            step(config)
        except UserError as error:
            print(f"No {products}: {error}", file=sys.stderr)
        else:
            steps[products] = lambda config=config: step(config)
    return steps


def transformers(size: str) -> dict[str, Step]:
    """The peer's step; runs in the peer's environment."""
    torch: Any = import_module("torch")
    library: Any = import_module("transformers")
    shape = SHAPES[size]
    config = library.CodeGenConfig(
        n_layer=shape["layers"],
        n_embd=shape["width"],
        n_head=shape["heads"],
        rotary_dim=shape["rotary"],
        vocab_size=shape["vocab"],
        n_positions=2048,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    torch.manual_seed(0)
    model = library.CodeGenForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
    tokens = torch.randint(0, shape["vocab"], (ROWS[size], LENGTH))

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    return {"torch": step}


def serve(steps: dict[str, Step]) -> None:
    """Say which steps there are, then take one and as many as each line asks for; print the seconds of the latter."""
    print(json.dumps(list(steps)), flush=True)
    for line in sys.stdin:
        name, count = line.split()
        steps[name]()
        begun = time.perf_counter()
        for _ in range(int(count)):
            steps[name]()
        print(time.perf_counter() - begun, flush=True)


class Side:
    """A program that takes steps when told to."""

    def __init__(self, python: str, side: str, size: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [python, __file__, "--side", side, "--size", size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self.steps: list[str] = json.loads(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("A side of the benchmark ended early; its message is above.")
        return line

    def seconds(self, name: str, count: int) -> float:
        """How long `count` steps take, after one that does not count."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {count}\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """End the program."""
        self._process.communicate()


def race(size: str, python: str | None, seconds: float, environment: dict[str, str]) -> dict[str, list[float]]:
    """Tokens per second of each kind of step: lower quartile, median and upper quartile of the turns."""
    sides = [Side(sys.executable, "ours", size, environment)]
    sides += [Side(python, "transformers", size, {})] if python else []
    try:
        contestants = [(side, name) for side in sides for name in side.steps]
        one = {name: side.seconds(name, 1) for side, name in contestants}
        count = {name: max(2, round(TURN_S / time)) for name, time in one.items()}
        turns: dict[str, list[float]] = {name: [] for name in one}
        while sum(map(sum, turns.values())) < seconds * len(turns) or len(turns["xla"]) < 5:
            for side, name in contestants:
                turns[name].append(side.seconds(name, count[name]))
    finally:
        for side in sides:
            side.close()
    tokens = ROWS[size] * LENGTH
    return {
        name: [tokens * count[name] / taken for taken in reversed(statistics.quantiles(taken, n=4))]
        for name, taken in turns.items()
    }


def main() -> None:
    """Run all sizes and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="a Python that has torch and transformers")
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=list(SHAPES), help="which sizes to run")
    parser.add_argument("--seconds", type=float, default=60.0, help="measure each contestant of a size for so long")
    parser.add_argument("--plain", action="store_true", help="run ours without huge pages")
    parser.add_argument("--side", choices=("ours", "transformers"), help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        serve((ours if options.side == "ours" else transformers)(options.size))
        return
    if not options.peer_python:
        print("No peer: give --peer-python an environment with torch and transformers.")
    rates, quartiles = {}, {}
    for size in options.sizes:
        found = race(size, options.peer_python, options.seconds, {} if options.plain else HUGE_PAGES)
        told = [f"{name} {rate:,.0f} [{low:,.0f}, {high:,.0f}]" for name, (low, rate, high) in found.items()]
        print(size, ", ".join(told), "tokens/s", flush=True)
        rates[size] = {name: rate for name, (_, rate, _) in found.items()}
        quartiles[size] = {name: [low, high] for name, (low, _, high) in found.items()}
    mine = {kind: {size: r[kind] for size, r in rates.items() if kind in r} for kind in ("xla", "native")}
    peer = {size: r["torch"] for size, r in rates.items() if "torch" in r}
    ratios = {kind: {size: r / peer[size] for size, r in of.items() if size in peer} for kind, of in mine.items()}
    host = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
    }
    peers = {"torch": peer} if peer else {}
    named = {**ratios["xla"], **{f"{size} native": ratio for size, ratio in ratios["native"].items()}}
    print(json.dumps({"ours": mine, "peers": peers, "ratios": named, "quartiles": quartiles, "host": host}))


if __name__ == "__main__":
    main()
