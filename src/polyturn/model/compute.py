"""How a model is computed, as opposed to what it computes. Imports no JAX."""

from dataclasses import dataclass

from polyturn.utils.errors import UserError

DTYPES = ("bfloat16", "float32")
REMAT = ("none", "attention", "products", "full")
PRODUCTS = ("xla", "native")


@dataclass(frozen=True)
class Compute:
    """Choices that leave the result what it is, up to rounding.

    Attributes:
        dtype: of activations and products; weights, sums, softmax and loss are float32 whatever it is.
        attention: backend of the softmax attention, or "auto" (`model/attention.py`).
        remat: what a layer keeps for the pass backwards. "none": all of it; "attention": all but the attention's scores
            and weights; "products": the results of the products only, the rest is computed anew; "full": nothing
            but the layer's input.
        products: "xla", or "native" for the C++ kernel on CPUs.
    """

    dtype: str = "bfloat16"
    attention: str = "reference"
    remat: str = "none"
    products: str = "xla"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("dtype", self.dtype, DTYPES),
            ("remat", self.remat, REMAT),
            ("products", self.products, PRODUCTS),
        ):
            if value not in known:
                raise UserError(f"compute.{name} is one of {', '.join(known)}, not {value}.")
