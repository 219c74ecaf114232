"""The shape of a CodeGen decoder. Imports no JAX, so that command lines and converters can use it freely."""

from dataclasses import dataclass

from polyturn.utils.errors import UserError

MLP_RATIO = 4


@dataclass(frozen=True)
class ModelConfig:
    """Shape and constants of one decoder. Every CodeGen release is an instance (paper, table 1)."""

    layers: int
    width: int  # D, the residual stream
    heads: int  # H; D / H is the head width K
    rotary: int  # the first `rotary` of a head's K dimensions carry the position
    vocab: int  # V, rows of the embedding; the tokenizer may use fewer
    context: int = 2048
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.vocab, self.context) < 1:
            raise UserError("A model needs at least one of each: layers, width, heads, vocab, context.")
        if self.width % self.heads:
            raise UserError(f"The width {self.width} is not a multiple of the {self.heads} heads; change one of them.")
        if self.rotary % 2 or not 0 < self.rotary <= self.head_width:
            width = self.head_width
            raise UserError(f"The rotary dimension {self.rotary} must be even and at most the head width {width}.")

    @property
    def head_width(self) -> int:
        """K, the dimensions of one attention head."""
        return self.width // self.heads

    @property
    def parameters(self) -> int:
        """Number of weights: embedding, blocks, final norm, untied head with bias."""
        d, v = self.width, self.vocab
        block = (3 + 2 * MLP_RATIO + 1) * d * d + (MLP_RATIO + 1) * d + 2 * d
        return v * d + self.layers * block + 2 * d + d * v + v
