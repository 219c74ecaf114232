"""How fast one GPU trains: the 350M model on packed rows of 2,048 tokens, documents kept apart, and what makes it so.

    python benchmarks/gpu_train_rate.py
    python benchmarks/gpu_train_rate.py --smoke            # a toy on whatever device there is: does the script run?

First the tests in tests/gpu run on this very device; nothing is timed where one fails. Then come the attention kernels
that the device has, then what may make the fastest of them faster: rows at a time, recomputation, flags of XLA. Each
setting that is faster than the best so far is kept for the ones after it. Every setting runs in a process of its own,
since XLA reads its flags once; one that fails is reported with its error and the rest go on. When --seconds are over
the settings left are named as not measured.

The peer, where torch and transformers are installed, is Hugging Face CodeGen of the same shape: bfloat16 autocast,
fused AdamW, torch.compile. It has no document mask, so that its rows are one document each, which is less to do.

Model-FLOPs utilisation is that of `polyturn.train.flops`: causal attention halved, over the peak of dense bfloat16
products; devices with no known peak get none. It needs JAX, optax, NumPy and pytest. The last line of output is one
JSON object.
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
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))  # so that any Python with JAX for the GPU will do

from polyturn.model.config import ModelConfig  # noqa: E402
from polyturn.train.flops import utilisation  # noqa: E402

WARM, GROUP, TIMED_S, MOST_GROUPS = 2, 4, 8.0, 20


@dataclass(frozen=True)
class Shape:
    """A model and its rows."""

    layers: int
    width: int
    heads: int
    rotary: int
    vocab: int
    length: int

    def model(self) -> ModelConfig:
        """The model of this shape."""
        return ModelConfig(self.layers, self.width, self.heads, self.rotary, self.vocab, self.length)


FULL = Shape(20, 1024, 16, 32, 51200, 2048)
SMOKE = Shape(2, 64, 2, 16, 512, 128)


@dataclass(frozen=True)
class Setting:
    """What one process measures."""

    attention: str
    rows: int = 16  # at a time
    accumulate: int = 1  # times that, per step
    remat: str = "none"
    flags: str = ""  # XLA's


CHANGES: list[dict[str, Any]] = [
    {"accumulate": 8},  # a quarter of a million tokens a step: the optimiser's share shrinks
    {"flags": "--xla_gpu_deterministic_ops=true"},  # what the same bits in every run cost
    {"rows": 32},
    {"rows": 8},
    {"flags": "--xla_gpu_enable_triton_gemm=false"},
    {"flags": "--xla_gpu_enable_command_buffer="},
    {"flags": "--xla_gpu_enable_latency_hiding_scheduler=true"},
    {"flags": "--xla_gpu_enable_while_loop_double_buffering=true"},
    {"flags": "--xla_gpu_exhaustive_tiling_search=true"},
    {"remat": "products", "rows": 32},
    {"remat": "full", "rows": 32},
]


def packed(shape: Shape, rows: int, seed: int) -> tuple[Any, Any]:
    """Tokens and segments int32 `[rows, T]`: documents of about 600 tokens at full length, one behind the other."""
    import numpy as np

    draw = np.random.default_rng(seed)
    segments = np.zeros((rows, shape.length), np.int32)
    for row in segments:
        begin, number = 0, 1
        while begin < shape.length:
            size = max(shape.length // 64, int(draw.lognormal(5.8, 1.0) * shape.length / 2048))
            row[begin : begin + size] = number
            begin, number = begin + size, number + 1
    tokens = np.minimum(draw.zipf(1.2, segments.shape), shape.vocab - 1).astype(np.int32)
    return tokens, segments


def timed(run: Callable[[], None], finish: Callable[[], None], tokens: int) -> dict[str, float]:
    """Steps in groups, until a few seconds are over: `finish` waits for the device, and is called once a group."""
    for _ in range(WARM):
        run()
    finish()
    began, parts = time.perf_counter(), []
    while time.perf_counter() - began < TIMED_S and len(parts) < MOST_GROUPS:
        start = time.perf_counter()
        for _ in range(GROUP):
            run()
        finish()
        parts.append((time.perf_counter() - start) / GROUP)
    step = statistics.median(parts)
    return {"step_ms": 1e3 * step, "tokens_per_s": tokens / step, "spread": (max(parts) - min(parts)) / step}


def ours(setting: Setting, shape: Shape) -> dict[str, Any]:
    """Measure Polyturn's step."""
    import jax
    import numpy as np

    from polyturn.data.batches import with_targets
    from polyturn.model.attention import check_documents, choose
    from polyturn.model.compute import Compute
    from polyturn.train.config import OptimizerConfig, TrainConfig
    from polyturn.train.step import start, train_step

    device = jax.devices()[0]
    model = shape.model()
    attention = choose(setting.attention, device, model.head_width, shape.length, "bfloat16")
    config = TrainConfig(
        model=model,
        optimizer=OptimizerConfig(peak_rate=3e-4, end_rate=3e-5, warmup=100),
        steps=10_000,
        rows=setting.rows * setting.accumulate,
        accumulate=setting.accumulate,
        compute=Compute(dtype="bfloat16", attention=attention, remat=setting.remat),
    )
    tokens, segments = packed(shape, config.rows, 0)
    check_documents(attention, segments)
    batch = jax.device_put(with_targets(tokens, segments, np.ones_like(segments, bool)), device)
    state, metrics = start(config), {}

    def run() -> None:
        nonlocal state, metrics
        state, metrics = train_step(config, state, batch)

    def finish() -> None:
        jax.block_until_ready((state, metrics))

    began = time.perf_counter()
    run()
    finish()
    compiled = time.perf_counter() - began
    first = float(metrics["loss"])
    figures = timed(run, finish, tokens.size)
    memory = device.memory_stats() or {}
    return {
        **asdict(setting),
        "attention": attention,
        "device": device.device_kind,
        "jax": jax.__version__,
        "compile_s": compiled,
        **figures,
        "peak_gib": memory.get("peak_bytes_in_use", 0) / 2**30,
        "first_loss": first,
        "last_loss": float(metrics["loss"]),
    }


def transformers(setting: Setting, shape: Shape) -> dict[str, Any]:
    """Measure Hugging Face CodeGen in torch."""
    torch: Any = import_module("torch")
    library: Any = import_module("transformers")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    config = library.CodeGenConfig(
        vocab_size=shape.vocab,
        n_positions=shape.length,
        n_ctx=shape.length,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        rotary_dim=shape.rotary,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
    )
    model = library.CodeGenForCausalLM(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.999), weight_decay=0.1, fused=True)
    tokens = torch.tensor(packed(shape, setting.rows, 0)[0], dtype=torch.long, device=device)
    compiled = torch.compile(model)
    loss = torch.zeros(())

    def run() -> None:
        nonlocal loss
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = compiled(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def finish() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    began = time.perf_counter()
    run()
    finish()
    first, compile_s = float(loss), time.perf_counter() - began
    figures = timed(run, finish, tokens.numel())
    return {
        "rows": setting.rows,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "transformers": library.__version__,
        "compile_s": compile_s,
        **figures,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0,
        "first_loss": first,
    }


def in_process(side: str, setting: Setting, smoke: bool, limit: float) -> dict[str, Any]:
    """Measure one setting in a new process: its figures, or what went wrong."""
    command = [sys.executable, __file__, "--side", side, "--setting", json.dumps(asdict(setting))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {setting.flags}".strip()
    environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    try:
        done = subprocess.run(
            [*command, *(["--smoke"] if smoke else [])], env=environment, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return {**asdict(setting), "error": f"not done after {limit:.0f} s"}
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.strip()]
        return {**asdict(setting), "error": told[-1][:500] if told else f"exit code {done.returncode}"}
    figures = json.loads(done.stdout.splitlines()[-1])
    shape = SMOKE if smoke else FULL
    figures["mfu"] = utilisation(shape.model(), shape.length, figures["tokens_per_s"], figures["device"], devices=1)
    return figures


def line(name: str, figures: dict[str, Any]) -> str:
    """One setting's figures for people."""
    if "error" in figures:
        return f"{name:<60} {figures['error']}"
    mfu = f"{figures['mfu']:.1%}" if figures["mfu"] else "-"
    return (
        f"{name:<60}{figures['tokens_per_s']:>10,.0f} tokens/s{mfu:>8}{figures['step_ms']:>9.1f} ms"
        f"{figures['peak_gib']:>7.1f} GiB{figures['compile_s']:>6.0f} s to compile"
    )


def tests_pass() -> bool:
    """Run tests/gpu here."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-rs", "-W", "default", "-p", "no:cacheprovider"]
    command += ["-o", "addopts=--import-mode=importlib"]  # the project's own want Hypothesis
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "JAX_PLATFORMS": "cuda,cpu", "PYTHONPATH": path}
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    return subprocess.run(command, cwd=ROOT, env=environment).returncode == 0


def compare(smoke: bool, until: float) -> dict[str, Any]:
    """All settings and the peer, as time allows."""
    measured: list[dict[str, Any]] = []
    left: list[str] = []
    best: dict[str, Any] = {}

    def measure(setting: Setting) -> None:
        nonlocal best
        name = " ".join(f"{key}={value}" for key, value in asdict(setting).items() if value != "")
        if time.monotonic() > until - 30:
            left.append(name)
            return
        figures = in_process("ours", setting, smoke, until - time.monotonic())
        measured.append(figures)
        print(line(name, figures), flush=True)
        if figures.get("tokens_per_s", 0) > best.get("tokens_per_s", 0):
            best = {**figures, "setting": setting}

    base = Setting("chunked", rows=2) if smoke else Setting("chunked")
    for attention in ("chunked", "reference") if smoke else ("cudnn", "tokamax", "chunked"):
        measure(replace(base, attention=attention))
    peers = {}
    if find_spec("torch") and find_spec("transformers") and not smoke:
        peers["transformers"] = in_process("transformers", replace(base, rows=8), smoke, until - time.monotonic())
        print(line("Hugging Face CodeGen, rows=8", peers["transformers"]), flush=True)
    for change in ([{"remat": "full"}] if smoke else CHANGES) if best else []:
        flags = f"{best['setting'].flags} {change.get('flags', '')}".strip()
        measure(replace(best["setting"], **{**change, "flags": flags}))
    if best:
        best["setting"] = asdict(best["setting"])
    rates = {name: peer["tokens_per_s"] for name, peer in peers.items() if "tokens_per_s" in peer}
    ratios = {name: best["tokens_per_s"] / rate for name, rate in rates.items()} if best else {}
    return {"ours": best, "measured": measured, "not_measured": left, "peers": peers, "ratios": ratios}


def has_gpu() -> bool:
    """Ask JAX in another process: in this one it would keep the device's memory."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() == "gpu"


def main() -> int:
    """Run everything and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a toy model, to see that the script runs; no GPU needed")
    parser.add_argument("--seconds", type=float, default=540.0, help="for everything together (%(default)s)")
    parser.add_argument("--side", choices=("ours", "transformers"), help=argparse.SUPPRESS)
    parser.add_argument("--setting", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side = ours if options.side == "ours" else transformers
        print(json.dumps(side(Setting(**options.setting), SMOKE if options.smoke else FULL)))
        return 0

    until = time.monotonic() + options.seconds
    if not options.smoke and not has_gpu():
        print("JAX has no GPU here, so there is nothing to measure; --smoke tries the script on this device.")
        print(json.dumps({"skipped": "no GPU"}))
        return 0
    if not options.smoke and not tests_pass():
        print("Nothing is timed: the tests of this device failed, so that its figures would mean nothing.")
        print(json.dumps({"skipped": "tests/gpu failed"}))
        return 1
    result = compare(options.smoke, until)
    host = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"shape": asdict(SMOKE if options.smoke else FULL), **result, "host": host}))
    return 0 if result["ours"] else 1


if __name__ == "__main__":
    sys.exit(main())
