"""What training never sees, fixed before any training: pairs of families, and the other seeds.

Programs of `split="train"` never apply the second family of a pair to a value that the first one made, by a
variable, a function or in place. Both families occur apart, in many other pairs. `split="heldout-pairs"`
composes at least one of them in every program. Seeds are kept apart from the pairs: validation and test
programs are of the same kind as training programs, made from seeds that training does not use.
"""

from typing import Literal

Split = Literal["train", "heldout-pairs"]

TRAIN_SEED = 1
VALIDATION_SEED = 2
TEST_SEED = 3

HELD_OUT_PAIRS: frozenset[tuple[str, str]] = frozenset(
    {
        # numbers
        ("square", "even"),
        ("add constant", "digit sum"),
        ("multiply by constant", "greater than"),
        ("absolute value", "string from number"),
        ("product of two", "remainder"),
        ("remainder", "double"),
        ("digit sum", "odd"),
        ("larger of two", "subtract constant"),
        ("sum of two", "square"),
        ("increase", "multiply by constant"),
        ("half", "round to integer"),
        # strings
        ("upper case", "first characters"),
        ("reversed text", "upper case"),
        ("joined with", "text length"),
        ("words", "length"),
        ("first word", "reversed text"),
        ("replaced", "vowel count"),
        ("suffix", "words"),
        ("lower case", "character count"),
        ("text length", "even"),
        # lists
        ("squares", "sum"),
        ("sorted list", "first element"),
        ("above", "length"),
        ("even numbers", "squares"),
        ("reversed list", "last element"),
        ("append", "sum"),
        ("sort", "first element"),
        ("doubled", "largest"),
        ("first elements", "reversed list"),
        ("all increased", "mean"),
        # lists of words
        ("alphabetical", "joined"),
        ("lengths", "largest"),
        ("all upper case", "joined"),
        ("words", "lengths"),
        ("long words", "length"),
        # dictionaries, sets and tuples
        ("values", "sum"),
        ("sorted keys", "first element"),
        ("add entry", "sum of values"),
        ("entries above", "keys"),
        ("word length dictionary", "key of largest"),
        ("union", "sorted set"),
        ("set from list", "largest"),
        ("tuple from list", "last element"),
        # functions
        ("double", "map numbers"),
        ("text length", "map words to numbers"),
    }
)
"""Who made the value, who consumed it."""
