"""How fast a small model writes: one conversation, 32 samples of one prompt, and the wait for the first token.

    python benchmarks/decode_rate.py --peer-python .venv-parity/bin/python

The model has 6 layers of width 192 and 8,192 tokens, the shape of the built-in one, with random weights in
float32. Ours runs with everything a session has on: text after every token, and the rules that end a turn
looking at it. The peer is `generate` of Hugging Face transformers, given the same folder, the same prompt and the
same sampling, without stop rules. Each runs in a process of its own; cold means from the start of that process,
imports, loading and compilation included. Without --peer-python (an environment with torch and transformers,
such as the one of `make test-parity`) there is no peer. The last line of output is one JSON object.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

PROMPT_TOKENS = 60
NEW_TOKENS = 128
SAMPLES = 32
TEMPERATURE, TOP_P = 0.8, 0.95
REPEATS = 3
FIGURES = {
    "single_tokens_per_s": "one sample, tokens/s",
    "samples_tokens_per_s": f"{SAMPLES} samples, tokens/s together",
    "first_token_cold_s": "first token, cold, s",
    "first_token_warm_s": "first token, warm, s",
}


def write_model(folder: Path) -> None:
    """A model folder with random weights and the built-in model's tokenizer."""
    import jax

    from polyturn.hub.catalogue import DEFAULT, resolve
    from polyturn.hub.folder import write_folder
    from polyturn.model.config import ModelConfig
    from polyturn.model.params import initialise
    from polyturn.tokenizer import bpe

    config = ModelConfig(layers=6, width=192, heads=4, rotary=32, vocab=8192)
    params = initialise(config, jax.random.key(0))
    write_folder(folder, config, params, bpe.load(resolve(DEFAULT)), dtype="float32")


def prompt(number: int) -> list[int]:
    """Token ids that no other prompt begins with."""
    return [1000 + number, *range(100, 99 + PROMPT_TOKENS)]


def fastest(write: Callable[[int], int]) -> float:
    """Tokens per second of the fastest of some runs; `write` takes the number of a prompt, gives tokens written."""
    rates = []
    for repeat in range(REPEATS):
        begun = time.perf_counter()
        tokens = write(100 + repeat)
        rates.append(tokens / (time.perf_counter() - begun))
    return max(rates)


def ours(folder: str, started: float) -> dict[str, float]:
    """Measure Polyturn."""
    from polyturn.api import load
    from polyturn.engine.types import Request, Sampling
    from polyturn.synthesis.truncate import turn_end

    model = load(folder)

    def write(number: int, tokens: int, n: int, temperature: float) -> int:
        def look(text: str) -> None:
            turn_end(text)

        sampling = Sampling(temperature, TOP_P, tokens)
        done = model.complete_many([Request(prompt(number), sampling, n, complete=look)])[0]
        return sum(len(sample.ids) for sample in done)

    return measure(write, started)


def transformers(folder: str, started: float) -> dict[str, float]:
    """Measure `generate` of transformers; runs in the peer's environment."""
    torch: Any = import_module("torch")
    library: Any = import_module("transformers")
    model = library.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    limits = {"eos_token_id": None, "pad_token_id": 0}

    def write(number: int, tokens: int, n: int, temperature: float) -> int:
        draw = {"do_sample": True, "temperature": temperature, "top_p": TOP_P, "top_k": 0, "num_return_sequences": n}
        with torch.inference_mode():
            ids = torch.tensor([prompt(number)])
            settings = draw if temperature else {"do_sample": False}
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, **settings, **limits)
        return out.shape[0] * (out.shape[1] - ids.shape[1])

    return measure(write, started)


def measure(write: Callable[[int, int, int, float], int], started: float) -> dict[str, float]:
    """All figures of one side; `write(prompt number, new tokens, samples, temperature)` gives tokens written."""
    write(0, 1, 1, 0.0)
    figures = {"first_token_cold_s": time.monotonic() - started}
    figures["first_token_warm_s"] = 1 / fastest(lambda number: write(number, 1, 1, 0.0))
    figures["single_tokens_per_s"] = fastest(lambda number: write(number, NEW_TOKENS, 1, 0.0))
    write(0, NEW_TOKENS, SAMPLES, TEMPERATURE)
    figures["samples_tokens_per_s"] = fastest(lambda number: write(number, NEW_TOKENS, SAMPLES, TEMPERATURE))
    return figures


def in_process(python: str, side: str, folder: Path) -> dict[str, float]:
    """Measure one side in a new process."""
    command = [python, __file__, "--side", side, "--folder", str(folder), "--started", repr(time.monotonic())]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run both sides and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="a Python that has torch and transformers")
    parser.add_argument("--side", choices=("ours", "transformers"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side = ours if options.side == "ours" else transformers
        print(json.dumps(side(options.folder, options.started)))
        return

    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model")
        mine = in_process(sys.executable, "ours", Path(folder) / "model")
        peers = {}
        if options.peer_python:
            peers["transformers"] = in_process(options.peer_python, "transformers", Path(folder) / "model")
        else:
            print("No peer: give --peer-python an environment with torch and transformers.")
    ratios = {}
    for name, theirs in peers.items():
        ratios[name] = {k: mine[k] / theirs[k] if k.endswith("per_s") else theirs[k] / mine[k] for k in FIGURES}
    print(f"{'':<34}{'ours':>10}" + "".join(f"{name:>16}{'ratio':>8}" for name in peers))
    for key, label in FIGURES.items():
        beside = "".join(f"{peers[name][key]:>16.3f}{ratios[name][key]:>8.1f}" for name in peers)
        print(f"{label:<34}{mine[key]:>10.3f}{beside}")
    host = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "backend": os.environ.get("JAX_PLATFORMS", "default"),
    }
    print(json.dumps({"ours": mine, "peers": peers, "ratios": ratios, "host": host}))


if __name__ == "__main__":
    main()
