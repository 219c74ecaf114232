"""A model folder from a checkpoint of a run, while it trains or afterwards.

polyturn train export runs/micro/1-writing --out model --step 5000
"""

from pathlib import Path
from typing import Literal

import numpy as np

from polyturn.hub.folder import write_folder
from polyturn.model.config import ModelConfig
from polyturn.model.params import Params
from polyturn.tokenizer import bpe
from polyturn.train import manifests, record
from polyturn.train.checkpoints import load_params
from polyturn.utils.errors import UserError


def export(
    run: Path,
    out: Path,
    step: int | None = None,
    tokenizer: bpe.Tokenizer | None = None,
    dtype: Literal["float32", "bfloat16"] = "bfloat16",
) -> int:
    """Write the weights of a checkpoint as a Hugging Face folder.

    Args:
        run: the folder of a run, with `run.json` and `checkpoints/`. Another process may be training in it.
        out: the model folder to write, whole or not at all.
        step: which checkpoint; the newest if None.
        tokenizer: goes along if given.
        dtype: float type in the files.

    Returns:
        The step that was written.

    Raises:
        UserError: there is no such run or checkpoint, or it is damaged; and as `hub.folder.write_folder`.
    """
    config = ModelConfig(**record.read(run)["settings"]["model"])
    chosen, params = _load(run, step)
    write_folder(out, config, params, tokenizer, dtype)
    return chosen


def _load(run: Path, step: int | None) -> tuple[int, Params[np.ndarray]]:
    """The weights of a checkpoint, and its step; the newest there is, though the run may remove it and write newer."""
    folder = run / "checkpoints"
    while True:
        there = manifests.steps(folder)
        if not there or step not in (None, *there):
            which = "" if step is None else f" of step {step}"
            raise UserError(f"{run} has no checkpoint{which}; there are: {', '.join(map(str, there)) or 'none'}.")
        chosen = there[-1] if step is None else step
        try:
            return chosen, _load_whole(run, folder, chosen)
        except Exception:
            if chosen in manifests.steps(folder):
                raise
        # The run has removed it meanwhile: look again.


def _load_whole(run: Path, folder: Path, step: int) -> Params[np.ndarray]:
    manifest = manifests.read(folder, step)
    wrong = "its manifest" if manifest is None else manifests.damage(folder, manifest)
    if wrong:
        raise UserError(f"The checkpoint of step {step} in {run} is damaged ({wrong}); take another with --step.")
    return load_params(folder / str(step))
