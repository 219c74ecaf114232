"""What defines a training run. Imports no JAX."""

from dataclasses import dataclass

from polyturn.model.config import ModelConfig
from polyturn.utils.errors import UserError


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay, the paper's (paper, section 2 and appendix)."""

    peak_rate: float
    end_rate: float
    warmup: int  # steps from 0 to peak_rate
    decay: float = 0.1  # on matrices; norms and biases are left alone
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip: float = 1.0  # largest global norm of a gradient


@dataclass(frozen=True)
class TrainConfig:
    """One run over one set of packed rows."""

    model: ModelConfig
    optimizer: OptimizerConfig
    steps: int
    rows: int  # per step
    seed: int = 0
    compute: str = "bfloat16"  # dtype of activations and products; weights and sums stay float32
    log_every: int = 20  # this and all below may change when a run is carried on; its result does not
    save_every: int = 500  # steps
    save_minutes: float = 0.0  # and whenever so long has passed since the last save; 0: by steps alone
    keep_last: int = 2  # checkpoints
    keep_every: int = 0  # and for ever those of every so many steps; 0: none
    validate_every: int = 500  # steps
    validation_batches: int = 16  # always so many, so that all hosts do the same
    step_deadline: float = 1800.0  # seconds after which a step counts as hung

    def __post_init__(self) -> None:
        if self.compute not in ("bfloat16", "float32"):
            raise UserError(f"The compute dtype is bfloat16 or float32, not {self.compute}.")
        counts = "steps rows log_every save_every keep_last validate_every validation_batches".split()
        if wrong := [name for name in counts if getattr(self, name) < 1]:
            raise UserError(f"{wrong[0]} must be at least 1.")
        if wrong := [name for name in ("save_minutes", "keep_every") if getattr(self, name) < 0]:
            raise UserError(f"{wrong[0]} must be at least 0.")
        if self.step_deadline <= 0:
            raise UserError("step_deadline must be more than 0 seconds.")
        if not 0 <= self.optimizer.warmup < self.steps:
            raise UserError(f"A run of {self.steps} steps cannot warm up for {self.optimizer.warmup}; take fewer.")
