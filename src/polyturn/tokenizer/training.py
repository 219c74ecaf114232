"""Train the project's tokenizer: byte-level BPE that splits names and values alike in prose and in code.

A model that writes programs from intents spends its strength on copying: names, numbers, strings, from a
comment into code. It can copy what is spelled with the same tokens in both places. So, unlike GPT-2's rule, a
word never takes the blank before it along ("named xs." and "xs = " both hold the token "xs"), digits stand
alone, and so do underscores, quotes and brackets. What costs nothing in that respect is joined: operators with
the blanks around them, a comma or colon with the blank behind it, runs of blanks, tabs and line ends.
"""

from collections.abc import Iterable

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from polyturn.tokenizer.bpe import END_OF_TEXT, PADDING, Tokenizer

ROWS = 8192
SPACE_RUNS = [" " * n for n in range(31, 1, -1)]
TAB_RUNS = ["\t" * n for n in range(9, 1, -1)]
LANGUAGES = (
    "python",
    "c",
    "cpp",
    "go",
    "java",
    "javascript",
    "typescript",
    "cython",
    "shell",
    "markdown",
    "text",
    "toml",
)
SPECIAL = [
    END_OF_TEXT,
    PADDING,
    *(f"<|fim_{part}|>" for part in ("prefix", "middle", "suffix", "pad")),
    *(f"<|{language}|>" for language in LANGUAGES),
]
SPECIAL += [f"<|reserved_{n}|>" for n in range(32 - len(SPECIAL))]

SPLIT = "|".join(
    [
        r" [=+\-*/%<>!&|^~@]+ ",  # an operator between blanks
        r"[,:#] ?",
        r"[\p{L}\p{M}]+",  # a word, without the blank before it
        r"\p{N}",
        r"[\r\n]+",
        r"""[ \t'"`_()\[\]{}.;\\]""",
        r"""[^\s\p{L}\p{N}'"`_()\[\]{}.;\\,:#]+""",
        r"\s",
    ]
)


def train(texts: Iterable[str], rows: int = ROWS) -> Tokenizer:
    """Learn `rows` tokens, the special ones and the runs of blanks among them, from `texts`.

    Ids: 0 to 31 special (0 ends a text), then bytes and merges, then 30 runs of blanks and 8 of tabs at the end.
    The result depends on the texts alone.
    """
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=rows - len(SPACE_RUNS) - len(TAB_RUNS),
        special_tokens=[AddedToken(text, normalized=False, special=True) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_tokens([AddedToken(run, normalized=False) for run in SPACE_RUNS + TAB_RUNS])
    return Tokenizer(backend)
