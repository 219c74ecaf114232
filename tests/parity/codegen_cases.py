"""Random CodeGen models that both sides can make: Hugging Face's implementation and ours.

Needs numpy alone, since the two live in different environments. Weights come from the legacy RandomState,
whose numbers numpy promises never to change, and from exact arithmetic on them, so that a stored output can
be compared with weights made anew on any machine.

The weights are larger than a fresh model's. With those, attention is almost even and logits almost constant,
and a wrong order of heads or a wrong rotation would hardly show.
"""

import zlib
from dataclasses import dataclass

import numpy as np

KEPT = 16  # logits are stored for the last positions alone


@dataclass(frozen=True)
class Case:
    """One random model and its input: `rows` of `length` tokens."""

    head_width: int
    rotary: int
    heads: int = 4
    layers: int = 2
    rows: int = 2
    length: int = 40
    dtype: str = "float32"  # of the weights in the folder; the computation is in float32
    sharded: bool = False
    vocab: int = 96

    @property
    def name(self) -> str:
        marks = [f"k{self.head_width}", f"r{self.rotary}"]
        marks += [f"h{self.heads}"] if self.heads != 4 else []
        marks += [f"t{self.length}"] if self.length != 40 else []
        marks += ["bf16"] if self.dtype == "bfloat16" else []
        marks += ["sharded"] if self.sharded else []
        return "-".join(marks)

    @property
    def width(self) -> int:
        return self.heads * self.head_width

    def config(self) -> dict[str, object]:
        """What Hugging Face's CodeGenConfig takes."""
        return {
            "vocab_size": self.vocab,
            "n_positions": 2048,
            "n_ctx": 2048,
            "n_embd": self.width,
            "n_layer": self.layers,
            "n_head": self.heads,
            "rotary_dim": self.rotary,
            "bos_token_id": None,
            "eos_token_id": None,
        }

    def tokens(self) -> np.ndarray:
        """int64 `[rows, length]`."""
        return _random(f"{self.name}/tokens").randint(0, self.vocab, (self.rows, self.length)).astype(np.int64)

    def tensors(self) -> dict[str, np.ndarray]:
        """The state dictionary of CodeGenForCausalLM, float32."""
        d, v = self.width, self.vocab
        layer = {
            "ln_1.weight": self._near(1, (d,)),
            "ln_1.bias": self._near(0, (d,)),
            "attn.qkv_proj.weight": self._linear(3 * d, d, 1.5),
            "attn.out_proj.weight": self._linear(d, d, 1),
            "mlp.fc_in.weight": self._linear(4 * d, d, 1),
            "mlp.fc_in.bias": self._near(0, (4 * d,)),
            "mlp.fc_out.weight": self._linear(d, 4 * d, 1),
            "mlp.fc_out.bias": self._near(0, (d,)),
        }
        recipes = {
            "transformer.wte.weight": self._linear(v, d, d**0.5),
            **{f"transformer.h.{n}.{name}": recipe for n in range(self.layers) for name, recipe in layer.items()},
            "transformer.ln_f.weight": self._near(1, (d,)),
            "transformer.ln_f.bias": self._near(0, (d,)),
            "lm_head.weight": self._linear(v, d, 1),
            "lm_head.bias": self._near(0, (v,)),
        }
        return {name: self._uniform(name, *recipe) for name, recipe in recipes.items()}

    @staticmethod
    def _linear(outputs: int, inputs: int, gain: float) -> tuple[float, float, tuple[int, ...]]:
        """Weights `[outputs, inputs]` with standard deviation `gain / sqrt(inputs)`."""
        return 0.0, gain * (3 / inputs) ** 0.5, (outputs, inputs)

    @staticmethod
    def _near(centre: float, shape: tuple[int, ...]) -> tuple[float, float, tuple[int, ...]]:
        return centre, 0.5, shape

    def _uniform(self, name: str, centre: float, reach: float, shape: tuple[int, ...]) -> np.ndarray:
        draw = _random(f"{self.name}/{name}").random_sample(shape)
        return (centre + reach * (2 * draw - 1)).astype(np.float32)


def _random(key: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(key.encode()))


SHAPES = [
    Case(64, 32),
    Case(64, 64),
    Case(80, 32),
    Case(80, 64),
    Case(128, 32),
    Case(128, 64),
    Case(256, 32, layers=1),
    Case(256, 64, layers=1),
    Case(64, 32, heads=8),
    Case(64, 64, layers=1, rows=1, length=2048),  # the rotary tables at the far end of the context
]
SMALL = Case(6, 4, heads=8, vocab=40)  # for what does not depend on the shape
STORAGE = [Case(64, 32, sharded=True), Case(64, 32, dtype="bfloat16")]

TEXTS = [
    "def add(a, b):\n    return a + b\n",
    "if x:\n\tif y:\n\t\t\treturn  x   +    y\n\n\n",
    " leading, and trailing blanks   ",
    "\n\n    # four, then eight:\n        pass\r\n",
    "naïve café, Ελληνικά, 日本語, 🐍🙂, e\u0301",
    "x = 3.14159e-10; y = 0xFF_FF; z = 1_000_000",
    "it 's , don 't . he said \" quoted \" ' single '",
    " " * 70 + "deep" + "\t" * 20 + "tabs",
    "s = 'a_b-c'; d = {\"k\": [1, 2, (3,)]}  # comment",
    "not the end: <|endoftext|> <|pad|>",
    "\u00a0non-breaking\u2003wide\u200bzero\x00nul",
    "",
]
PROMPTS = [
    "# Assign the list [3, 1, 2] to a variable named xs.\n",
    "def double(n):\n    return",
    "import math\n\n",
    "# Print the sum of 4 and 5.\n",
]
