"""How many near-duplicates are found, by what was done to them, and how many pairs are found that are none.

    python benchmarks/dedup_quality.py

Real modules of the standard library are changed in ways that copied code is changed in, and each is paired with its
original. A pair is found if the two share a band and their estimated similarity reaches the threshold, as in the build.
Pairs of different modules show what is found wrongly: the exact Jaccard index says whether a pair is one.
Prints tables in Markdown and, in the last line, everything as JSON.
"""

import ast
import json
import random
import re
import sysconfig
import time
import tokenize
from collections.abc import Callable
from io import StringIO
from itertools import combinations
from pathlib import Path

import numpy as np

from polyturn.data.minhash import PERMUTATIONS, bands, runs, shape, signature, similarity, tokens

FILES = 200
SIZES = range(2_000, 60_000)  # characters
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
Change = Callable[[str, random.Random], str]


def originals() -> list[str]:
    """Modules of the standard library, spread over its folders, the same in every run."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = []
    for path in sorted(root.rglob("*.py")):
        if "site-packages" not in path.parts and path.stat().st_size in SIZES:
            text = path.read_bytes().decode("utf-8", "ignore")
            if parsed(text) and "def " in text:
                texts.append(text)
    return random.Random(0).sample(texts, FILES)


def parsed(text: str) -> bool:
    """Can the changes below be made?"""
    try:
        ast.parse(text)
        list(tokenize.generate_tokens(StringIO(text).readline))
    except (SyntaxError, ValueError, tokenize.TokenError):
        return False
    return "\r" not in text and "\f" not in text


# ---- changes


def replaced(text: str, change: Callable[[tokenize.TokenInfo], str | None]) -> str:
    """The text with the tokens of one line for which `change` gives another string."""
    lines = text.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(StringIO(text).readline))):
        (row, start), (last, end) = token.start, token.end
        if row == last and (new := change(token)) is not None:
            lines[row - 1] = lines[row - 1][:start] + new + lines[row - 1][end:]
    return "".join(lines)


def comments(text: str, rng: random.Random) -> str:
    """Each comment says something else, and each function has got a new one above it."""
    changed = replaced(text, lambda token: f"# note {rng.random()}" if token.type == tokenize.COMMENT else None)
    return "".join(
        f"# remark {rng.random()}\n{line}" if line.startswith("def ") else line for line in changed.splitlines(True)
    )


def docstrings(text: str, _: random.Random) -> str:
    """Without docstrings, and without any layout and comments of its own: as ast.unparse writes it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


def unparsed(text: str, _: random.Random) -> str:
    """Reformatted by ast.unparse: quotes, parentheses, line breaks; comments gone."""
    return ast.unparse(ast.parse(text))


def renamed(share: float) -> Change:
    """That share of a module's variables and arguments renamed, wherever they occur."""

    def change(text: str, rng: random.Random) -> str:
        tree = list(ast.walk(ast.parse(text)))
        names = {n.arg for n in tree if isinstance(n, ast.arg)}
        names |= {n.id for n in tree if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        chosen = {name: f"{name}_{rng.randrange(1000)}" for name in sorted(names) if rng.random() < share}
        return re.sub(r"\w+", lambda match: chosen.get(match[0], match[0]), text)

    return change


def constants(share: float) -> Change:
    """That share of the numbers and of the strings of one line changed."""

    def change(text: str, rng: random.Random) -> str:
        def new(token: tokenize.TokenInfo) -> str | None:
            if token.type in (tokenize.NUMBER, tokenize.STRING) and rng.random() < share:
                number = str(rng.randrange(10**6))
                return number if token.type == tokenize.NUMBER else f"'{number}'"
            return None

        return replaced(text, new)

    return change


def reordered(text: str, rng: random.Random) -> str:
    """Functions, methods and classes in another order within each body; reformatted besides."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            places = [i for i, n in enumerate(node.body) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
            moved = [node.body[i] for i in rng.sample(places, len(places))]
            for i, child in zip(places, moved, strict=True):
                node.body[i] = child
    return ast.unparse(tree)


def appended(share: float, other: str) -> Change:
    """That share of the text's length of another module's code at the end."""
    return lambda text, _: text + "\n" + (other * 30)[: round(share * len(text))]


def changes(other: str) -> dict[str, Change]:
    """By name; `other` is a module that none of the texts is."""
    return {
        "comments rewritten, new ones added": comments,
        "reformatted": unparsed,
        "reformatted, docstrings removed": docstrings,
        "functions reordered": reordered,
        "1 variable in 10 renamed": renamed(0.1),
        "1 variable in 3 renamed": renamed(1 / 3),
        "all variables renamed": renamed(1),
        "1 constant in 10 changed": constants(0.1),
        "all constants changed": constants(1),
        "5 % of code appended": appended(0.05, other),
        "20 % of code appended": appended(0.2, other),
        "50 % of code appended": appended(0.5, other),
    }


# ---- what is found


def exact(one: set[int], other: set[int]) -> float:
    """The Jaccard index."""
    return len(one & other) / len(one | other)


def run_set(text: str) -> set[int]:
    """A text as the set of its runs of tokens."""
    return set(runs(tokens(text, "Python")).tolist())


def recall(texts: list[str], signatures: np.ndarray, sets: list[set[int]]) -> list[dict[str, object]]:
    """For each kind of change: the mean Jaccard index, and the share of pairs found at each threshold."""
    rows: list[dict[str, object]] = []
    for name, change in changes(texts.pop()).items():
        rng = random.Random(1)
        changed = [change(text, rng) for text in texts]
        after = np.stack([signature(text, "Python") for text in changed])
        index = np.mean([exact(run_set(text), before) for text, before in zip(changed, sets, strict=False)])
        row: dict[str, object] = {"change": name, "Jaccard": float(index)}
        for threshold in THRESHOLDS:
            row[str(threshold)] = float(np.mean(found(signatures[: len(texts)], after, threshold)))
        rows.append(row)
    return rows


def found(some: np.ndarray, others: np.ndarray, threshold: float) -> np.ndarray:
    """Bool [N]: do two signatures [N, permutations] share a band and reach the threshold?"""
    candidates = (bands(some, threshold) == bands(others, threshold)).any(axis=-1)
    return candidates & (similarity(some, others) >= threshold)


def precision(texts: list[str], signatures: np.ndarray, sets: list[set[int]]) -> list[dict[str, object]]:
    """For each threshold, among pairs of modules cut to have all degrees of similarity and among pairs as they are."""
    pairs = np.array(list(combinations(range(len(sets)), 2)))
    natural = np.array([exact(sets[i], sets[j]) for i, j in pairs])
    rng = random.Random(2)
    blends = [blend(texts[i], texts[j], rng) for i, j in rng.sample(pairs.tolist(), 2_000)]
    ones, others = (np.stack([signature(side, "Python") for side in sides]) for sides in zip(*blends, strict=True))
    index = np.array([exact(run_set(one), run_set(other)) for one, other in blends])
    rows: list[dict[str, object]] = []
    for threshold in THRESHOLDS:
        hit = found(ones, others, threshold)
        true = index >= threshold
        wrong = found(signatures[pairs[:, 0]], signatures[pairs[:, 1]], threshold)
        rows.append(
            {
                "threshold": threshold,
                "bands × rows": "{} × {}".format(*shape(threshold)),
                "precision": float((hit & true).sum() / hit.sum()),
                "recall": float((hit & true).sum() / true.sum()),
                "precision less 0.05": float((hit & (index >= threshold - 0.05)).sum() / hit.sum()),
                "recall above 0.05": float(
                    (hit & (index >= threshold + 0.05)).sum() / (index >= threshold + 0.05).sum()
                ),
                "unrelated": int((natural < threshold).sum()),
                "found": int((wrong & (natural < threshold)).sum()),
            }
        )
    return rows


def blend(one: str, other: str, rng: random.Random) -> tuple[str, str]:
    """Two texts that share a part of `one`, of any size, and have a part each of `other` for themselves."""
    own = rng.randrange(1, len(other) // 2)
    share = rng.random()
    common = round(min(len(one), share / (1 - share + 1e-3) * 2 * own))
    return one[:common] + other[:own], one[:common] + other[-own:]


# ---- the estimator, against one that needs a single permutation


def one_permutation(text: str, language: str) -> np.ndarray:
    """uint32 [128]: the least hash of each of 128 ranges; an empty range borrows from the next full one.

    Shrivastava and Li, "Densifying one permutation hashing via rotation for fast near neighbor search", 2014.
    """
    hashes = np.unique(runs(tokens(text, language)))
    ranges = (hashes >> np.uint32(25)).astype(np.int64)
    full, firsts = np.unique(ranges, return_index=True)
    entries = np.empty(PERMUTATIONS, np.uint32)
    place = np.searchsorted(full, np.arange(PERMUTATIONS)) % len(full)
    borrowed = (full[place] - np.arange(PERMUTATIONS)) % PERMUTATIONS
    entries[:] = (hashes[firsts] & np.uint32((1 << 25) - 1))[place] + borrowed.astype(np.uint32) * np.uint32(1 << 25)
    return entries


def estimators(texts: list[str]) -> list[dict[str, object]]:
    """Root mean square error by size of text, and MB/s, of 128 permutations and of one."""
    rows: list[dict[str, object]] = []
    size = sum(len(text.encode()) for text in texts) / 1e6
    for name, estimator in (("128 permutations", signature), ("one permutation", one_permutation)):
        row: dict[str, object] = {"signature": name}
        for limit in (30, 100, 300, 1_000, 3_000):
            rng = random.Random(3)
            errors = []
            for _ in range(400):
                words = [f"w{rng.randrange(10**6)}" for _ in range(limit + 8)]
                changed = list(words)
                for place in rng.sample(range(len(words)), max(round(limit * 0.03), 1)):
                    changed[place] = "changed"
                one, other = " ".join(words), " ".join(changed)
                estimate = float(similarity(estimator(one, ""), estimator(other, "")))
                errors.append(estimate - exact(run_set(one), run_set(other)))
            row[f"{limit} runs"] = float(np.mean(np.square(errors)) ** 0.5)
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            for text in texts:
                estimator(text, "Python")
            seconds.append(time.perf_counter() - began)
        row["MB/s"] = size / sorted(seconds)[2]
        rows.append(row)
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """In Markdown."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    for row in rows:
        cells = [
            f"{v:.3f}" if isinstance(v, float) and v < 10 else f"{v:,.0f}" if isinstance(v, float) else str(v)
            for v in row.values()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    began = time.monotonic()
    texts = originals()
    signatures = np.stack([signature(text, "Python") for text in texts])
    sets = [run_set(text) for text in texts]
    parts = {
        "recall": recall(list(texts), signatures, sets),
        "precision": precision(texts, signatures, sets),
        "estimators": estimators(texts),
    }
    for rows in parts.values():
        print(table(rows), "\n")
    print(json.dumps({**parts, "files": FILES, "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main()
