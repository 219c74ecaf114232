"""`polyturn perplexity`: how unexpected texts are to a model."""

import json
import sys
from typing import Annotated, Any

import tyro


def perplexity(
    files: Annotated[tuple[str, ...], tyro.conf.Positional],
    model: str | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Measure the perplexity of texts, each alone and all together: 1 is fully expected, higher is less so.

    It is e to the mean negative log-likelihood of the tokens given those before, the first of each text left out.
    A text longer than the model's context is read in windows that overlap by half.

    Args:
        files: Text files in UTF-8; - reads standard input.
        model: Built-in name, model folder, or Hub id (owner/name).
        json_output: Print one JSON object instead of a table.
    """
    import numpy as np

    import polyturn
    from polyturn.utils.errors import UserError
    from polyturn.utils.progress import track

    if not files:
        raise UserError("Name the text files to measure, or - for standard input.")
    texts = [_text(file) for file in files]
    scorer = polyturn.load(model)
    scores = [scorer.log_probabilities([text])[0] for text in track(texts, "texts read")]
    for file, own in zip(files, scores, strict=True):
        if not len(own):
            raise UserError(f"{_name(file)} is a single token; perplexity needs a text of at least two.")

    def row(scores: np.ndarray, texts: int) -> dict[str, Any]:
        """The first token of each text counts among its tokens and has no score."""
        return {"tokens": len(scores) + texts, "perplexity": float(np.exp(-np.mean(scores, dtype=np.float64)))}

    rows: list[dict[str, Any]] = [{"file": file} | row(own, 1) for file, own in zip(files, scores, strict=True)]
    total = row(np.concatenate(scores), len(files))
    if json_output:
        print(json.dumps({"schema": 1, "model": scorer.name, "digest": scorer.digest, "files": rows, **total}))
        return 0
    print(f"{'perplexity':>12} {'tokens':>10}  text")
    for own in rows + ([{"file": "all"} | total] if len(files) > 1 else []):
        print(f"{own['perplexity']:12.3f} {own['tokens']:10,}  {_name(own['file'])}")
    return 0


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


def _text(file: str) -> str:
    from pathlib import Path

    from polyturn.utils.errors import UserError

    try:
        text = (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode()
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{_name(file)} is not UTF-8; convert it first, for instance with iconv.") from None
    if not text:
        raise UserError(f"{_name(file)} is empty; perplexity needs a text of at least two tokens.")
    return text
