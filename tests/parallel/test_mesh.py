"""The shape of a mesh as people write it."""

import pytest

from polyturn.parallel.mesh import MeshShape
from polyturn.utils.errors import UserError


def test_written_shapes() -> None:
    assert MeshShape.parse("data=16,tensor=4") == MeshShape(16, 1, 4)
    assert MeshShape.parse("fsdp=-1") == MeshShape(1, -1, 1)
    assert MeshShape.parse("") == MeshShape()
    assert str(MeshShape(2, 4, 1)) == "data=2,fsdp=4,tensor=1"
    assert MeshShape.parse(str(MeshShape(2, 4, 1))) == MeshShape(2, 4, 1)


@pytest.mark.parametrize("text", ["data", "data=", "data=x", "rows=2", "data=2,data=4", "data=0", "data=-1,fsdp=-1"])
def test_shapes_that_make_no_sense(text: str) -> None:
    with pytest.raises(UserError):
        MeshShape.parse(text)


def test_what_is_left_goes_to_one_axis() -> None:
    assert MeshShape(fsdp=-1, tensor=2).over(8) == MeshShape(1, 4, 2)
    assert MeshShape().over(1) == MeshShape()
    for shape in (MeshShape(data=3, fsdp=-1), MeshShape(data=4), MeshShape(data=16, fsdp=-1)):
        with pytest.raises(UserError, match="does not fit 8 devices"):
            shape.over(8)
