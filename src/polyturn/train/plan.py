"""What a run takes on a mesh that is not there: memory, FLOPs, messages, time, and what would fit if it does not.

A step's time is the larger of two. Computing: the FLOPs that are executed, remat included, at a given share of the
devices' peak. Sending: the bytes that each device sends along each axis, at the speed of its links, as if nothing but
the slowest axis counted and all of it went on beside the computation. The share is the reader's to choose:
docs/scaling.md has what others reach.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from polyturn.model.compute import REMAT
from polyturn.model.config import MLP_RATIO, ModelConfig
from polyturn.model.params import check_mesh
from polyturn.parallel.mesh import AXES, MeshShape
from polyturn.train.config import TrainConfig
from polyturn.train.flops import Device, per_step
from polyturn.train.memory import Memory, memory

USABLE = 0.9  # of a device's memory: the rest is for the runtime, for messages, and for the estimate's error


@dataclass(frozen=True)
class Plan:
    """One way to run a recipe."""

    config: TrainConfig
    row: int  # tokens
    device: Device
    memory: Memory  # of each device
    flops: int  # of the model in a step, over all devices
    executed: int  # the same with what remat does twice
    sent: dict[str, int]  # bytes that a device sends in a step, by axis of the mesh
    sending: dict[str, float]  # seconds, by axis, with nothing else on the links
    computing: float  # seconds

    @property
    def fits(self) -> bool:
        """Whether the total stays below `USABLE` of the memory."""
        return self.memory.total <= USABLE * self.device.memory

    @property
    def seconds(self) -> float:
        """Expected time of a step."""
        return max(self.computing, *self.sending.values())

    @property
    def utilisation(self) -> float:
        """Model-FLOPs utilisation that follows."""
        return self.flops / (self.seconds * self.device.peak * self.config.mesh.size)

    @property
    def tokens(self) -> int:
        """Tokens in a step."""
        return self.config.rows * self.row

    @property
    def days(self) -> float:
        """Expected time of the run."""
        return self.seconds * self.config.steps / 86_400


def plan(config: TrainConfig, row: int, device: Device, utilisation: float) -> Plan:
    """Work out `config` over rows of `row` tokens on `config.mesh` of such devices.

    Args:
        utilisation: share of the peak at which the executed FLOPs are computed.

    Raises:
        UserError: the mesh does not divide the model, or the rows do not share out.
    """
    mesh = config.mesh
    check_mesh(config.model, mesh)
    tokens = config.rows * row
    executed = per_step(config.model, config.rows, row) + tokens * repeated(config.model, row, config.compute.remat)
    sent = traffic(config, row)
    return Plan(
        config=config,
        row=row,
        device=device,
        memory=memory(config, row),
        flops=per_step(config.model, config.rows, row),
        executed=executed,
        sent=sent,
        sending={axis: sent[axis] / speed(axis, mesh, device) for axis in AXES},
        computing=executed / (device.peak * utilisation * mesh.size),
    )


def repeated(model: ModelConfig, row: int, remat: str) -> int:
    """FLOPs that remat adds to each token: forwards again, but not each layer's last product, which nothing needs."""
    attention = 2 * model.layers * model.width * row
    products = 2 * (3 + MLP_RATIO) * model.layers * model.width**2
    return {"none": 0, "attention": attention, "products": attention, "full": attention + products}[remat]


def traffic(config: TrainConfig, row: int) -> dict[str, int]:
    """Bytes that each device sends in a step, by axis, if messages go round a ring.

    An array of S bytes that n devices gather, or sum and cut, costs each (n - 1) / n S; one that they sum, twice that.

        data    the float32 gradients, summed, once a step
        fsdp    per micro-batch: each layer's weights gathered in the compute dtype, forwards and backwards, those of
                its first product once more where remat repeats it, the head's once, the embedding in float32; and
                all their gradients in float32, summed and cut
        tensor  per micro-batch: a residual stream summed per layer, forwards and backwards, and for the loss, in the
                compute dtype; and for the embedding, in float32
    """
    model, mesh = config.model, config.mesh
    low = 2 if config.compute.dtype == "bfloat16" else 4
    blocks = model.layers * (4 + 2 * MLP_RATIO) * model.width**2 // mesh.tensor
    table = model.vocab * model.width // mesh.tensor  # the embedding; the head is as large
    biases = model.layers * MLP_RATIO * model.width // mesh.tensor + model.vocab // mesh.tensor
    small = (3 * model.layers + 2) * model.width
    gradients = 4 * ((blocks + 2 * table) // mesh.fsdp + biases + small)
    again = blocks * (3 + MLP_RATIO) // (4 + 2 * MLP_RATIO) if config.compute.remat == "full" else 0
    gathered = (2 * blocks + again + table) * low + 4 * table + 4 * (blocks + 2 * table)
    stream = config.micro_rows(mesh) * row * model.width
    return {
        "data": round(2 * _share(mesh.data) * gradients),
        "fsdp": round(_share(mesh.fsdp) * config.accumulate * gathered),
        "tensor": round(2 * _share(mesh.tensor) * config.accumulate * stream * ((2 * model.layers + 1) * low + 4)),
    }


def _share(devices: int) -> float:
    return (devices - 1) / devices


def speed(axis: str, mesh: MeshShape, device: Device) -> float:
    """Bytes per second that a device can send along `axis`.

    An axis that fits into a node, with those inside it, has the node's links; one that does not has the network.
    Tensor is the innermost axis and data the outermost (`parallel/rules.py`).
    """
    reach = {"tensor": mesh.tensor, "fsdp": mesh.tensor * mesh.fsdp, "data": mesh.size}[axis]
    return device.link if device.node is None or reach <= device.node else device.network


def fitting(config: TrainConfig, row: int, device: Device, utilisation: float) -> Plan | None:
    """The plan that fits with the smallest expected time; None where nothing does.

    Any number of micro-batches and any remat are tried on the mesh that `config` names, and where none fits, on every
    mesh of as many devices. Of equal times the one wins that sends less, then the one of fewer micro-batches, then that
    of less remat.
    """
    for meshes in ([config.mesh], [m for m in _meshes(config, device) if m != config.mesh]):
        plans = (plan(c, row, device, utilisation) for mesh in meshes for c in _ways(config, mesh))
        found = min((p for p in plans if p.fits), key=_order, default=None)
        if found is not None:
            return found
    return None


def _order(p: Plan) -> tuple[float, float, int, int]:
    return (p.seconds, sum(p.sending.values()), p.config.accumulate, REMAT.index(p.config.compute.remat))


def _ways(config: TrainConfig, mesh: MeshShape) -> Iterator[TrainConfig]:
    """The configuration with every number of micro-batches and every remat that there is on a mesh."""
    turns = config.rows // mesh.shards
    for accumulate in (n for n in range(1, turns + 1) if turns % n == 0):
        for remat in REMAT:
            yield replace(config, mesh=mesh, accumulate=accumulate, compute=replace(config.compute, remat=remat))


def _meshes(config: TrainConfig, device: Device) -> Iterator[MeshShape]:
    """Every mesh of as many devices that divides the model and the batch; tensor stays within a node."""
    size, model = config.mesh.size, config.model
    for tensor in (n for n in range(1, min(size, device.node or size) + 1) if size % n == 0 and model.heads % n == 0):
        for fsdp in (n for n in range(1, size // tensor + 1) if size // tensor % n == 0):
            mesh = MeshShape(size // tensor // fsdp, fsdp, tensor)
            if config.rows % mesh.shards == 0 and model.width % fsdp == 0 and model.vocab % tensor == 0:
                yield mesh
