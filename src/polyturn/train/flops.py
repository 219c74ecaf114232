"""What a model costs to train and what devices can do: FLOPs, peaks, memory, links. Imports no JAX.

One convention everywhere, since it moves a utilisation by 5 to 20 %:

    FLOPs per token = 6 (12 L D² + D V) + 6 L D T

A multiply and an add are two FLOPs; the backward pass costs twice the forward one, hence 6. `12 L D²` are the products
of the layers, `D V` the head; the embedding is a look-up and costs nothing. `6 L D T` are the attention's two products
over a row of T, *halved* because a position sees only what came before it. Norms, rotary embedding, softmax and the
optimiser are left out, and so is what remat computes a second time: these are the FLOPs of the model and not of the
machine. Counts that do not halve attention are higher by `6 L D T` (at 350M and 2,048 tokens by 12 %).
"""

from dataclasses import dataclass

from polyturn.model.config import MLP_RATIO, ModelConfig
from polyturn.utils.errors import UserError

FORMULA = "6(12LD²+DV)+6LDT per token, causal attention halved"

GIB = 2**30
GB = 10**9
TERA = 10**12


def per_token(model: ModelConfig, row: int) -> int:
    """Model FLOPs of one token in training, forward and backward, in rows of `row` tokens."""
    return 3 * per_token_forward(model, row)


def per_token_forward(model: ModelConfig, row: int) -> int:
    """Model FLOPs of one token in the forward pass alone, as in scoring: a third of `per_token`."""
    d = model.width
    products = model.layers * (3 + 1 + 2 * MLP_RATIO) * d * d + d * model.vocab
    return 2 * products + 2 * model.layers * d * row


def per_step(model: ModelConfig, rows: int, row: int) -> int:
    """Model FLOPs of one step over `rows` rows of `row` tokens, padding included."""
    return per_token(model, row) * rows * row


def utilisation(model: ModelConfig, row: int, tokens_per_second: float, kind: str, devices: int) -> float | None:
    """Model-FLOPs utilisation: the share of the peak of `devices` devices that the model's FLOPs make up.

    Args:
        kind: as JAX names it (`jax.devices()[0].device_kind`). None comes back for one without a known peak.
    """
    device = by_kind(kind)
    return None if device is None else tokens_per_second * per_token(model, row) / (device.peak * devices)


@dataclass(frozen=True)
class Device:
    """What the maker says of one device. Rates are upper bounds; nothing here was measured."""

    name: str  # as `polyturn plan --device` takes it
    kinds: tuple[str, ...]  # `device_kind`s that JAX reports for it
    peak: float  # bfloat16 FLOP/s with float32 sums, dense: half of what NVIDIA's data sheets print "with sparsity"
    memory: int  # bytes
    link: float  # bytes per second that a device can send round a ring of neighbours
    node: int | None = None  # devices that `link` joins; None: the whole slice
    network: float = 0.0  # bytes per second that a device can send to another node


# NVIDIA: data sheets of A100, H100, H200 and HGX B200. NVLink is printed there as the sum of both directions; the
# network is one adapter a GPU, 400 Gbit/s as in DGX H100 and B200 and 200 Gbit/s as in DGX A100. Memory of the H100 as
# its driver reports it (openxla/xla, hlo_opt/gpu_specs), of the others as printed.
# TPU: docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}; memory as in jax/_src/tpu_info.py. The interconnect is printed
# for all links of a chip; a ring uses two, which is a third of it on the three-dimensional v4 and v5p and half on the
# others. One device of JAX is one chip, on v4 and v5p with its two cores joined.
DEVICES = (
    Device("h100", ("NVIDIA H100 80GB HBM3",), 989.5 * TERA, 84_929_347_584, 450 * GB, 8, 50 * GB),
    Device("h200", ("NVIDIA H200",), 989.5 * TERA, 141 * GB, 450 * GB, 8, 50 * GB),
    Device("b200", ("NVIDIA B200",), 2250 * TERA, 180 * GB, 900 * GB, 8, 50 * GB),
    Device("a100", ("NVIDIA A100-SXM4-80GB",), 312 * TERA, 80 * GB, 300 * GB, 8, 25 * GB),
    Device("a100-40", ("NVIDIA A100-SXM4-40GB",), 312 * TERA, 40 * GB, 300 * GB, 8, 25 * GB),
    Device("v4", ("TPU v4",), 275 * TERA, 32 * GIB, 100 * GB),
    Device("v5e", ("TPU v5 lite", "TPU v5e"), 197 * TERA, 16 * GIB, 100 * GB),
    Device("v5p", ("TPU v5", "TPU v5p"), 459 * TERA, 103 * GB, 200 * GB),
    Device("v6e", ("TPU v6 lite", "TPU v6e"), 918 * TERA, 32 * GIB, 200 * GB),
)


def by_kind(kind: str) -> Device | None:
    """The device that JAX calls `kind`; None where its peak is not known here. Nothing is guessed from part of a name.

    The H100 in a PCIe slot, say, has three quarters of the peak of the one that is named alike.
    """
    return next((device for device in DEVICES if kind in device.kinds), None)


def by_name(name: str) -> Device:
    """The device that `polyturn plan --device` calls `name`. Raises UserError where there is none."""
    for device in DEVICES:
        if device.name == name.lower():
            return device
    names = ", ".join(device.name for device in DEVICES)
    raise UserError(f"There is no device {name} in the table; there are: {names}.")
