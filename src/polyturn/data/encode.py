"""From the text of a document to its tokens: the language's name before it, fill-in-the-middle, the end after it.

All that is drawn is drawn from the seed and the document's id, so that a document becomes the same tokens wherever and
in whatever company it is encoded. A document is, in this order:

- the language, if asked for: the token `<|python|>` where the tokenizer has one for the language, and else its name and
  a line end as text. (The paper put the name before the files of its Multi stage and did not publish how.)
- the prompt, if there is one, encoded for itself: it and the language before it are given, and not learned.
- the text; or, for a share `fim_rate` of documents, its three parts, cut at two characters drawn uniformly
  (arXiv 2207.14255), prefix-suffix-middle or, for a share `fim_spm` of these, suffix-prefix-middle:

      PSM  <prefix> prefix <suffix> suffix <middle> middle
      SPM  <prefix> <suffix> suffix <middle> prefix middle

  Each part is encoded for itself, as it is in a prompt. A document that has no room for that in a row stays as it
  was: rows would part its parts. So does one with a prompt.
- the end-of-text token.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.errors import UserError

BATCH_CHARACTERS = 1 << 20  # at a time to the tokenizer, whose memory is many times that of the text


@dataclass(frozen=True)
class Encoding:
    """How documents are encoded."""

    row: int = 2048  # tokens of a row; what is longer is not transformed
    language_prefix: bool = False
    fim_rate: float = 0.0  # share of documents transformed, from 0 to 1
    fim_spm: float = 0.5  # of these, the share in the order suffix, prefix, middle; the others: prefix, suffix, middle
    fim_tokens: tuple[str, str, str] = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


class Document(NamedTuple):
    """What is encoded."""

    text: str
    language: str  # "" where it is not known; it then gets no prefix
    id: str
    prompt: int = 0  # characters of `text` that are its prompt


class Encoded(NamedTuple):
    """What becomes of it."""

    ids: np.ndarray  # uint32 [N]
    given: int  # of the first tokens, which are read and not learned; 0 without a prompt
    rearranged: bool  # for filling in the middle


def encode(text: str, language: str, id: str, tokenizer: Tokenizer, options: Encoding, seed: int) -> list[int]:
    """Token ids of one document, the end of the text included.

    Raises:
        UserError: fill-in-the-middle is asked for and the tokenizer lacks a token for it.
    """
    return next(encode_batch([Document(text, language, id)], tokenizer, options, seed)).ids.tolist()


def encode_batch(
    documents: Iterable[Document], tokenizer: Tokenizer, options: Encoding, seed: int
) -> Iterator[Encoded]:
    """Each document's tokens, in their order; without prompts, those that `encode` gives.

    A tokenizer that is not of our kind works on all cores in threads of its own; RAYON_NUM_THREADS=1 in the environment
    of a process that is one of many keeps it to one. Documents of about `BATCH_CHARACTERS` are held at a time.

    Raises:
        UserError: as `encode` does.
    """
    fim_ids = _fim_ids(tokenizer, options)
    for group in _groups(documents):
        parts = _encode_parts([_parts(document, None, tokenizer, options, fim_ids) for document in group], tokenizer)
        ids = [np.concatenate(found) for found in parts]
        given = [  # all but the text and its end
            sum(map(len, found[:-2])) if document.prompt else 0 for document, found in zip(group, parts, strict=True)
        ]
        cuts = {n: cut for n, document in enumerate(group) if (cut := _draw(document, options, seed))}
        fits = [n for n in cuts if len(ids[n]) + len(fim_ids) <= options.row]  # the long ones are most of the work
        rearranged = [False] * len(group)
        transformed = [_parts(group[n], cuts[n], tokenizer, options, fim_ids) for n in fits]
        for n, found in zip(fits, _encode_parts(transformed, tokenizer), strict=True):
            if sum(map(len, found)) <= options.row:
                ids[n], rearranged[n] = np.concatenate(found), True
        yield from map(Encoded, ids, given, rearranged)


def digest(tokenizer: Tokenizer) -> str:
    """SHA-256 of all that the tokenizer is, in hex. Two with the same digest give the same ids."""
    return hashlib.sha256(tokenizer.backend.to_str().encode()).hexdigest()


class _Cut(NamedTuple):
    """How a document is transformed."""

    spm: bool
    first: int  # characters before the middle
    second: int  # characters before the suffix


def _fim_ids(tokenizer: Tokenizer, options: Encoding) -> tuple[int, ...]:
    """Ids of the tokens before prefix, suffix and middle; empty where none is needed."""
    if not options.fim_rate:
        return ()
    ids = []
    for name in options.fim_tokens:
        found = tokenizer.backend.token_to_id(name)
        if found is None:
            raise UserError(
                f"The tokenizer has no token {name}, which fill-in-the-middle needs; set fim_rate to 0, or take a "
                "tokenizer made by `polyturn tokenizer train`."
            )
        ids.append(found)
    return tuple(ids)


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in groups of `BATCH_CHARACTERS` or one document more."""
    group, size = [], 0
    for document in documents:
        group.append(document)
        size += len(document.text)
        if size >= BATCH_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _draw(document: Document, options: Encoding, seed: int) -> _Cut | None:
    """Whether to transform a document, and how: by its id, the seed and the length of its text."""
    if document.prompt:
        return None
    random = hashlib.blake2b(f"{seed}:{document.id}".encode(), digest_size=32).digest()
    transform, spm, *ends = (int.from_bytes(random[at : at + 8], "little") for at in range(0, 32, 8))
    if transform >= options.fim_rate * 2**64:
        return None
    first, second = sorted(end * (len(document.text) + 1) >> 64 for end in ends)
    return _Cut(spm < options.fim_spm * 2**64, first, second)


def _parts(
    document: Document, cut: _Cut | None, tokenizer: Tokenizer, options: Encoding, fim_ids: tuple[int, ...]
) -> list[str | int]:
    """What a document becomes, as ids and texts to be encoded each for itself."""
    text, language, _, prompt = document
    parts: list[str | int] = []
    if options.language_prefix and language:
        own = tokenizer.backend.token_to_id(f"<|{language}|>")
        parts.append(f"{language}\n" if own is None else own)
    if prompt:
        parts.append(text[:prompt])
    if cut is None:
        return [*parts, text[prompt:], tokenizer.eos_id]
    prefix_id, suffix_id, middle_id = fim_ids
    prefix, middle, suffix = text[: cut.first], text[cut.first : cut.second], text[cut.second :]
    if cut.spm:
        parts += [prefix_id, suffix_id, suffix, middle_id, prefix, middle]
    else:
        parts += [prefix_id, prefix, suffix_id, suffix, middle_id, middle]
    return [*parts, tokenizer.eos_id]


def _encode_parts(every: Sequence[list[str | int]], tokenizer: Tokenizer) -> list[list[np.ndarray]]:
    """The ids of each part of each list."""
    texts = [part for parts in every for part in parts if isinstance(part, str)]
    encoded = iter(tokenizer.encode_many(texts))
    return [
        [next(encoded) if isinstance(part, str) else np.array([part], np.uint32) for part in parts] for parts in every
    ]
