"""Answers that lie about themselves: rows 1 and 12 to 15 of the catalogue."""

from .probe import DOUBLE, HALF, INTEGER, PAIR, Probe, Task, text


def _lie(row: int, name: str, source: str, task: Task = DOUBLE, **options: object) -> Probe:
    return Probe(row, name, "cheat", text(source), task, **options)  # pyright: ignore[reportArgumentType]


EQUAL = """
class Equal:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = None
"""

LIES = [
    _lie(1, "an answer equal to everything", EQUAL + "def double(x): return Equal()"),
    _lie(1, "a list of answers equal to everything", EQUAL + "def pair(x): return [Equal(), Equal()]", PAIR),
    _lie(
        1,
        "an answer within every tolerance",
        """
class Near:
    def __sub__(self, other): return self
    __rsub__ = __abs__ = __sub__
    def __abs__(self): return self
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __eq__ = __lt__
    def __float__(self): return 0.0
def half(x): return Near()
""",
        HALF,
    ),
    _lie(
        12,
        "an integer with a lying comparison",
        """
class Int(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = int.__hash__
def double(x): return Int(7)
""",
        INTEGER,
    ),
    _lie(
        12,
        "an object that claims to be an integer",
        """
class Actor:
    __class__ = property(lambda self: int)
    def __eq__(self, other): return True
    __hash__ = None
def double(x): return Actor()
""",
        INTEGER,
    ),
    _lie(
        12,
        "a list with a lying comparison",
        """
class List(list):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __len__(self): return 2
def pair(x): return List()
""",
        PAIR,
    ),
    _lie(
        13,
        "an array whose comparison broadcasts",
        "import numpy\ndef double(x): return numpy.array([[2 * x]])",
        needs=("numpy",),
    ),
    _lie(
        13,
        "an array with a lying comparison",
        """
import numpy
class Array(numpy.ndarray):
    def __eq__(self, other): return numpy.True_
    def __bool__(self): return True
def pair(x): return numpy.zeros(3).view(Array)
""",
        PAIR,
        needs=("numpy",),
    ),
    _lie(
        14,
        "mends its answer after it was printed",
        """
import atexit
answer = [0, 0]
def mend(): answer[:] = [21, 21]
atexit.register(mend)
def pair(x): return answer
""",
        PAIR,
        styles=("value",),
    ),
    _lie(
        15,
        "an answer that runs code when it is unpickled",
        """
import os, sys
class Trap:
    def __reduce__(self): return os.open, ("@FOLDER@/drop/unpickled", os.O_WRONLY | os.O_CREAT)
frame = sys._getframe()
while frame:
    for name, value in list(frame.f_locals.items()):
        if type(value).__name__ == "ListProxy":
            value.append(Trap())
    frame = frame.f_back
def double(x): return Trap()
""",
    ),
    _lie(
        15,
        "sends pickles to every descriptor",
        """
import os, pickle
class Trap:
    def __reduce__(self): return os.open, ("@FOLDER@/drop/unpickled", os.O_WRONLY | os.O_CREAT)
data = pickle.dumps(Trap())
for fd in range(3, 256):
    try:
        os.set_blocking(fd, False)
        os.write(fd, len(data).to_bytes(4, "big") + data)
    except OSError:
        pass
def double(x): return None
""",
    ),
]
