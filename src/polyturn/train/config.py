"""What defines a training run. Imports no JAX."""

from dataclasses import dataclass, field
from math import inf, isfinite

from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.parallel.mesh import MeshShape
from polyturn.utils.errors import UserError

SCHEDULES = ("cosine", "wsd")


def _check_count(name: str, value: int | None, least: int = 1, below: int = 2**31) -> None:
    if value is None:
        return
    if type(value) is not int:
        raise UserError(f"{name} is a whole number, not {value!r}.")
    if value < least:
        raise UserError(f"{name} must be at least {least}, not {value}.")
    if value >= below:
        raise UserError(f"{name} must be less than {below}, not {value}.")


def _check_positive(name: str, value: float, zero: bool = True) -> None:
    if not (isfinite(value) and (value > 0 or (zero and value == 0))):
        raise UserError(f"{name} must be {'at least' if zero else 'more than'} 0, not {value}.")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its learning rate: linear warm-up, then one of two ways down.

    "cosine" is the paper's: half a cosine from the peak to the end, over `anneal` steps after the warm-up, then flat
    (JAXformer: `peak - (peak - end) * (1 - cos(pi * x)) / 2`). "wsd", warm-up-stable-decay, stays at the peak and goes
    down in a straight line over the last `anneal` steps.
    """

    peak_rate: float
    end_rate: float
    warmup: int  # steps from 0 to peak_rate
    anneal: int | None = None  # steps from peak to end; by default all after the warm-up for cosine, a fifth for wsd
    schedule: str = "cosine"
    decay: float = 0.1  # on matrices; norms and biases are left alone
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip: float = 1.0  # largest global norm of a gradient

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UserError(f"The schedule is one of {', '.join(SCHEDULES)}, not {self.schedule}.")
        _check_count("optimizer.warmup", self.warmup, least=0)
        _check_count("optimizer.anneal", self.anneal)
        for name in ("peak_rate", "end_rate", "decay"):
            _check_positive(f"optimizer.{name}", getattr(self, name))
        _check_positive("optimizer.epsilon", self.epsilon, zero=False)
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"optimizer.{name} must be at least 0 and less than 1, not {getattr(self, name)}.")
        if not 0 < self.clip < inf:
            raise UserError(f"optimizer.clip is a number above 0, not {self.clip}; a large one clips nothing.")

    def annealing(self, steps: int) -> int:
        """Steps over which the rate goes down in a run of `steps`."""
        if self.anneal is not None:
            return self.anneal
        return max(1, steps - self.warmup if self.schedule == "cosine" else steps // 5)


@dataclass(frozen=True)
class GuardConfig:
    """When a step is left out: its weights and moments stay as they were, and training goes on with the next batch.

    A step whose loss or gradient is not finite is always left out. A loss counts as a spike when it lies more than
    `deviations` standard deviations above the mean of the losses before it, both averaged over about `window` steps.
    """

    deviations: float = 8.0  # 0: no loss is a spike
    window: int = 128
    patience: int = 10  # steps left out one after the other that end the run

    def __post_init__(self) -> None:
        _check_count("guard.window", self.window)
        _check_count("guard.patience", self.patience)
        if not self.deviations >= 0:
            raise UserError(f"guard.deviations must be at least 0, not {self.deviations}.")


@dataclass(frozen=True)
class TrainConfig:
    """One run over one set of packed rows.

    The second half may change when a run is carried on: it changes the result by no more than rounding, or not at all.
    """

    model: ModelConfig
    optimizer: OptimizerConfig
    steps: int
    rows: int  # per step, over all devices
    seed: int = 0
    z_loss: float = 0.0
    guard: GuardConfig = field(default_factory=GuardConfig)

    compute: Compute = field(default_factory=Compute)
    mesh: MeshShape = field(default_factory=MeshShape)
    accumulate: int = 1  # parts that a device's rows of a step are taken in, one after the other
    log_every: int = 20
    save_every: int = 500
    save_minutes: float | None = None  # save also when this long has passed since the last time
    keep_last: int = 2
    keep_every: int | None = None  # keep the checkpoint of every so many steps for good
    validate_every: int | None = None  # steps; by default save_every
    validation_batches: int = 16  # always so many, so that all hosts do the same
    step_deadline: float = 1800.0  # seconds after which a step counts as hung

    def __post_init__(self) -> None:
        counts = "steps rows accumulate log_every save_every keep_last keep_every validate_every validation_batches"
        for name in counts.split():
            _check_count(name, getattr(self, name))
        _check_count("seed", self.seed, least=0, below=2**32)  # of a larger one JAX takes the last 32 bits
        _check_positive("z_loss", self.z_loss)
        for name in ("save_minutes", "step_deadline"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"{name} must be more than 0, not {value}.")
        if not 0 <= self.optimizer.warmup < self.steps:
            raise UserError(
                f"A run of {self.steps} steps cannot warm up for {self.optimizer.warmup}; lower optimizer.warmup, or "
                "raise steps."
            )
        left, down = self.steps - self.optimizer.warmup, self.optimizer.annealing(self.steps)
        if self.optimizer.schedule == "wsd" and down > left:
            raise UserError(
                f"The rate cannot go down over {down} steps, for the warm-up leaves {left}; lower optimizer.anneal."
            )

    def micro_rows(self, mesh: MeshShape) -> int:
        """Rows that one device takes at a time. Raises UserError where they do not come out even."""
        parts = mesh.shards * self.accumulate
        if self.rows % parts:
            raise UserError(
                f"{self.rows} rows a step do not share out among {mesh.shards} parts of the batch "
                f"(data x fsdp) taken in {self.accumulate} turns (accumulate); change one of them."
            )
        return self.rows // parts
