"""`polyturn tokenizer train`: a tokenizer from a corpus."""

from pathlib import Path


def train(out: Path, source: tuple[Path, ...] = (), rows: int = 8192, overlap: Path | None = None) -> int:
    """Learn a byte-level BPE tokenizer and write its folder.

    Args:
        out: Folder for tokenizer.json and tokenizer_config.json; an older tokenizer there is replaced.
        source: Folders of Python files, the first 8 MB of each; by default the standard library and the
            installed packages. The generated curriculum is always part of the corpus.
        rows: Ids, special tokens and runs of blanks among them.
        overlap: N-gram digests of held-out benchmarks; texts that share a run with them are left out.
    """
    from polyturn.data.overlap import Overlap
    from polyturn.recipes.tokenizer import corpus, installed
    from polyturn.tokenizer.training import train as learn
    from polyturn.utils.atomic import check_replaceable, replacing
    from polyturn.utils.errors import UserError
    from polyturn.utils.progress import track

    if rows < 512:
        raise UserError("A tokenizer needs at least 512 rows: bytes, special tokens and runs of blanks take half.")
    for folder in source:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; give folders of Python files.")
    check_replaceable(out, {"tokenizer.json", "tokenizer_config.json"})
    held_out = Overlap.load(overlap) if overlap else None
    texts = corpus(source or installed(), lambda text: held_out is None or not held_out.hits(text))
    tokenizer = learn(track(texts, "texts read"), rows)
    with replacing(out) as folder:
        folder.mkdir()
        tokenizer.save(folder)
    print(f"{tokenizer.size:,} ids in {out}")
    return 0
