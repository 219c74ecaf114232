"""The shape of a mesh of devices: three axes, each a way to share the work. Imports no JAX.

- data: the batch is cut; weights are whole on each device.
- fsdp: the batch is cut, and so are weights, gradients and moments; a layer's weights are gathered where it runs.
- tensor: each layer's heads and hidden units, and the vocabulary, are cut; the batch is not.
"""

from dataclasses import dataclass
from math import prod

from polyturn.utils.errors import UserError

AXES = ("data", "fsdp", "tensor")
BATCH = ("data", "fsdp")  # the axes that cut the batch


@dataclass(frozen=True)
class MeshShape:
    """Devices along each axis; one of the three may be -1, which takes all devices that are left."""

    data: int = 1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        sizes = self.sizes
        if min(sizes) < -1 or 0 in sizes or sizes.count(-1) > 1:
            raise UserError(f"A mesh axis has 1 or more devices, and one may be -1 for all that are left, not {self}.")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Devices along data, fsdp and tensor."""
        return (self.data, self.fsdp, self.tensor)

    @property
    def size(self) -> int:
        """All devices; negative where an axis is still -1."""
        return prod(self.sizes)

    @property
    def shards(self) -> int:
        """In how many parts the batch is cut."""
        return self.data * self.fsdp

    @classmethod
    def parse(cls, text: str) -> "MeshShape":
        """The shape written as `data=16,tensor=4`; axes that are not named have one device."""
        sizes: dict[str, int] = {}
        for part in filter(None, text.split(",")):
            name, _, number = part.strip().partition("=")
            if name not in AXES or name in sizes or not number.removeprefix("-").isdecimal():
                raise UserError(f"A mesh is written as in data=2,fsdp=4,tensor=1, each axis once, not {text!r}.")
            sizes[name] = int(number)
        return cls(**sizes)

    def over(self, devices: int) -> "MeshShape":
        """The same shape with -1 worked out. Raises UserError where it does not take `devices` devices exactly."""
        fixed = prod(size for size in self.sizes if size > 0)
        sizes = [size if size > 0 else devices // fixed for size in self.sizes]
        if prod(sizes) != devices:
            raise UserError(f"The mesh {self} does not fit {devices} devices; the sizes must multiply to that number.")
        return MeshShape(*sizes)

    def __str__(self) -> str:
        return ",".join(f"{name}={size}" for name, size in zip(AXES, self.sizes, strict=True))
