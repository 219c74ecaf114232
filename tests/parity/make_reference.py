"""Outputs of Hugging Face's CodeGen implementation, for ours to be compared with.

Runs in an environment of its own (requirements/parity.txt), between two steps of ours:

    .venv/bin/python tests/parity/write_ours.py --out build/parity
    .venv-parity/bin/python tests/parity/make_reference.py --out build/parity
    .venv/bin/python -m pytest tests/parity -m parity --reference build/parity

Writes below `--out`: for each case, a folder saved by transformers and the logits it computes (`theirs/`);
for each folder that we wrote, the logits, greedy continuations and token ids that transformers gets from it
(beside the folder, in `ours/`); the same for the built-in models (`builtin/`). All in float32, on the CPU.

`--store` instead writes the logits of the cases to tests/hub/reference, where the ordinary tests find them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from codegen_cases import KEPT, PROMPTS, SHAPES, STORAGE, TEXTS, Case
from transformers import AutoModelForCausalLM, AutoTokenizer, CodeGenConfig, CodeGenForCausalLM
from transformers.utils import logging

ROOT = Path(__file__).parents[2]
STORED = ROOT / "tests" / "hub" / "reference"
BUILTIN = ROOT / "src" / "polyturn" / "hub" / "builtin"
NEW_TOKENS = 48


def model_of(case: Case) -> CodeGenForCausalLM:
    """The case's model in float32; its weights, and nothing else of it, rounded to the case's type."""
    model = CodeGenForCausalLM(CodeGenConfig(**case.config())).eval()
    stored = {name: torch.from_numpy(t).to(getattr(torch, case.dtype)) for name, t in case.tensors().items()}
    model.load_state_dict(stored, strict=True)
    return model


@torch.no_grad()
def logits_of(model: torch.nn.Module, tokens: np.ndarray) -> np.ndarray:
    """float32 `[B, KEPT, V]`, of the last positions."""
    return model(torch.from_numpy(tokens)).logits[:, -KEPT:].float().numpy()


def make_theirs(out: Path) -> None:
    """Folders saved by transformers, and their logits."""
    for case in SHAPES + STORAGE:
        model = model_of(case)
        size = "300KB" if case.sharded else "5GB"
        logits = logits_of(model, case.tokens())
        model.to(getattr(torch, case.dtype)).save_pretrained(out / case.name, max_shard_size=size)
        np.savez(out / f"{case.name}.npz", tokens=case.tokens(), logits=logits)


def load(folder: Path) -> torch.nn.Module:
    """The model in a folder, in float32. Fails where transformers would have to make up or drop a tensor."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    troubles = {name: found for name, found in info.items() if found}
    if troubles:
        raise SystemExit(f"{folder}: {troubles}")
    return model.eval()


@torch.no_grad()
def describe(folder: Path) -> dict[str, object]:
    """What transformers makes of a folder's texts: ids, what they decode to, greedy continuations."""
    model, tokenizer = load(folder), AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(text).input_ids for text in TEXTS]
    prompts = [tokenizer(text, return_tensors="pt") for text in PROMPTS]
    greedy = [model.generate(**prompt, do_sample=False, max_new_tokens=NEW_TOKENS)[0].tolist() for prompt in prompts]
    return {
        "eos": tokenizer.eos_token_id,
        "pad": tokenizer.pad_token_id,
        "ids": ids,
        "decoded": [tokenizer.decode(each) for each in ids],
        "prompts": [prompt.input_ids[0].tolist() for prompt in prompts],
        "greedy": greedy,
    }


def describe_all(folders: list[Path], out: Path) -> None:
    """`describe`, and logits of random tokens, of each folder."""
    for folder in folders:
        model = load(folder)
        tokens = np.random.RandomState(1).randint(0, model.config.vocab_size, (2, 64)).astype(np.int64)
        np.savez(out / f"{folder.name}.npz", tokens=tokens, logits=logits_of(model, tokens))
        (out / f"{folder.name}.json").write_text(json.dumps(describe(folder)))


def folders_in(parent: Path) -> list[Path]:
    """The model folders directly below `parent`."""
    return sorted(path.parent for path in parent.glob("*/config.json"))


def main() -> None:
    """Read the command line, write what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to write, and where write_ours.py wrote")
    parser.add_argument("--store", action="store_true", help="renew tests/hub/reference")
    args = parser.parse_args()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    if args.store:
        STORED.mkdir(exist_ok=True)
        for case in SHAPES:
            np.savez(STORED / f"{case.name}.npz", logits=logits_of(model_of(case), case.tokens()))
    if args.out:
        for name in ("theirs", "ours", "builtin"):
            (args.out / name).mkdir(parents=True, exist_ok=True)
        make_theirs(args.out / "theirs")
        describe_all(folders_in(args.out / "ours"), args.out / "ours")
        describe_all(folders_in(BUILTIN), args.out / "builtin")


if __name__ == "__main__":
    main()
