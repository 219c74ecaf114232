"""Text to token ids and back: byte-level BPE, ours and any published CodeGen tokenizer.

A thin shell around Hugging Face's `tokenizers`, which does the work in Rust. What it adds: folders as published
by CodeGen (one `tokenizer.json`, or GPT-2's `vocab.json` and `merges.txt`), ids of the special tokens, and two
guarantees. Special tokens spelled out in a text stay text: a file that holds "<|endoftext|>" cannot end a
document. And decoding returns every byte: nothing is tidied away (transformers issue 21161).
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polyturn.utils.errors import UserError

if TYPE_CHECKING:
    import tokenizers

    from polyturn.tokenizer.pieces import Pieces

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"


class Tokenizer:
    """Encodes `str` to token ids and decodes ids to `str`; every valid UTF-8 text survives the round trip."""

    def __init__(self, backend: "tokenizers.Tokenizer") -> None:
        """Wrap a `tokenizers.Tokenizer` that has an `<|endoftext|>`. Raises UserError where it has none."""
        eos = backend.token_to_id(END_OF_TEXT)
        if eos is None:
            raise UserError(f"The tokenizer has no {END_OF_TEXT} token; use one made by `polyturn tokenizer train`.")
        backend.encode_special_tokens = True
        pad = backend.token_to_id(PADDING)
        self.backend = backend
        self.eos_id: int = eos
        self.pad_id: int = eos if pad is None else pad  # CodeGen's own has no padding token and uses this one

    @property
    def size(self) -> int:
        """Number of ids in use. A model's vocabulary has at least as many rows."""
        return 1 + max(self.backend.get_vocab().values())

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; no token is added at either end."""
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_many(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, uint32, those that `encode` gives, faster: for corpora."""
        if self._pieces is not None:
            return [self._pieces.encode(text) for text in texts]
        encoded = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(each.ids, np.uint32) for each in encoded]

    @cached_property
    def _pieces(self) -> "Pieces | None":
        """What remembers pieces, if this tokenizer is of a kind that it knows."""
        from polyturn.tokenizer import pieces, training

        known = pieces.fits(self.backend, training.SPLIT, training.SPACE_RUNS + training.TAB_RUNS)
        return pieces.Pieces(self.backend) if known else None

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`. Bytes that are no whole UTF-8 character, as at a cut, become U+FFFD."""
        return self.backend.decode(ids, skip_special_tokens=False)

    def save(self, folder: Path, context: int = 2048) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, as `transformers.AutoTokenizer` reads them.

        Args:
            context: the longest text, in tokens, of the model that this goes with.
        """
        self.backend.save(str(folder / "tokenizer.json"))
        pad = self.backend.id_to_token(self.pad_id)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "unk_token": END_OF_TEXT,
            "pad_token": pad,
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": True,  # text stays text in transformers too
            "model_max_length": context,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def load(folder: str | Path) -> Tokenizer:
    """Read the tokenizer of a model folder.

    Raises:
        UserError: the folder has none, or its files are damaged.
    """
    import tokenizers

    folder = Path(folder)
    try:
        if (folder / "tokenizer.json").exists():
            return Tokenizer(tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")))
        if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
            return Tokenizer(_from_gpt2_files(folder))
    except UserError:
        raise
    except Exception as error:  # the Rust side raises bare Exception for anything wrong with a file
        raise UserError(
            f"The tokenizer files in {folder} cannot be read ({error}); fetch or make them again."
        ) from error
    raise UserError(f"There is no tokenizer in {folder}; put its tokenizer.json there.")


def has_tokenizer(folder: str | Path) -> bool:
    """Whether `load` would find tokenizer files."""
    folder = Path(folder)
    return (folder / "tokenizer.json").exists() or (folder / "vocab.json").exists()


def _from_gpt2_files(folder: Path) -> "tokenizers.Tokenizer":
    """GPT-2's pair of files, with CodeGen's runs of blanks from `added_tokens.json` where there are any."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    backend = tokenizers.Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    added = folder / "added_tokens.json"
    if added.exists():
        by_id = sorted(json.loads(added.read_text()).items(), key=lambda item: item[1])
        backend.add_tokens([tokenizers.AddedToken(text, normalized=False) for text, _ in by_id])
    backend.add_special_tokens([tokenizers.AddedToken(END_OF_TEXT, normalized=False, special=True)])
    return backend
