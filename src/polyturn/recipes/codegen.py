"""CodeGen as in its paper (arXiv 2203.13474): four sizes, each trained in three stages, one recipe a stage.

    nl       natural language and code (The Pile), from fresh weights
    multi    code in six languages (BigQuery), from the weights of nl
    mono     Python (BigPython), from the weights of multi

A stage that starts from another takes its weights over and nothing else: optimiser and step begin anew, as in the
paper. Rows are 2,048 tokens; those of one step make up the paper's batch. The learning rate warms up over 3,000 steps
and falls by half a cosine to a tenth; weight decay is 0.1, the gradient's norm is cut at 1, and the z-loss, which the
released training code has, is 1e-4. Numbers were compared with the released configurations and pages where these give
them; a docstring says "not verified" where one is given from memory of the paper's tables.

The mesh takes whatever devices there are: along data at 350M, along fsdp above. Remat and micro-batches that fit yours:
`polyturn plan RECIPE --mesh ... --device ...`. Below these: small sizes for CPUs, and one GPU.
"""

from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.parallel.mesh import MeshShape
from polyturn.recipes.pretraining import Pretraining
from polyturn.train.config import OptimizerConfig, TrainConfig

VOCAB = 51200  # rows; GPT-2's tokenizer with its tokens for white space uses 50,295 of them
SIZES = {
    "350m": ModelConfig(layers=20, width=1024, heads=16, rotary=32, vocab=VOCAB),
    "2b": ModelConfig(layers=32, width=2560, heads=32, rotary=64, vocab=VOCAB),
    "6b": ModelConfig(layers=33, width=4096, heads=16, rotary=64, vocab=VOCAB),
    "16b": ModelConfig(layers=34, width=6144, heads=24, rotary=64, vocab=VOCAB),
}
ROWS = {"350m": 256, "2b": 512, "6b": 1024, "16b": 1024}  # of 2,048 tokens: 0.5M, 1M, 2M, 2M tokens a step
BEFORE = {"nl": None, "multi": "nl", "mono": "multi"}
WARMUP = 3_000
STEPS = {"nl": 350_000, "multi": 150_000, "mono": 150_000}
ANNEAL = {"nl": 300_000, "multi": 147_000, "mono": 147_000}


def _codegen(size: str, stage: str, peak: float, end: float | None = None) -> Pretraining:
    before = BEFORE[stage]
    small = size == "350m"
    train = TrainConfig(
        model=SIZES[size],
        optimizer=OptimizerConfig(peak, end or peak / 10, warmup=WARMUP, anneal=ANNEAL[stage]),
        steps=STEPS[stage],
        rows=ROWS[size],
        z_loss=1e-4,
        compute=Compute(attention="auto", remat="products" if size in ("350m", "2b") else "full"),
        mesh=MeshShape(data=-1) if small else MeshShape(fsdp=-1),
        save_every=1_000,
    )
    return Pretraining(f"codegen_{size}_{stage}", train, start_from=before and f"codegen_{size}_{before}")


def codegen_350m_nl() -> Pretraining:
    """350M on natural language: 183.5 billion tokens."""
    return _codegen("350m", "nl", 3.0e-4)


def codegen_350m_multi() -> Pretraining:
    """350M on six languages: 78.6 billion tokens. Its rate ends at a sixth of the peak, as released."""
    return _codegen("350m", "multi", 1.8e-4, 3.0e-5)


def codegen_350m_mono() -> Pretraining:
    """350M on Python: 78.6 billion tokens. The rates and the annealing are not verified."""
    return _codegen("350m", "mono", 1.8e-4)


def codegen_2b_nl() -> Pretraining:
    """2.7B on natural language: 367 billion tokens."""
    return _codegen("2b", "nl", 1.6e-4)


def codegen_2b_multi() -> Pretraining:
    """2.7B on six languages: 157 billion tokens. The rates and the annealing are not verified."""
    return _codegen("2b", "multi", 0.8e-4)


def codegen_2b_mono() -> Pretraining:
    """2.7B on Python: 157 billion tokens.

    The rates, the annealing and the 150,000 steps are not verified; the weights released are of step 100,000.
    """
    return _codegen("2b", "mono", 0.8e-4)


def codegen_6b_nl() -> Pretraining:
    """7.1B parameters, called 6B in the paper, on natural language: 734 billion tokens.

    The batch of 2M tokens is the paper's, not verified; the released configuration takes 1M.
    """
    return _codegen("6b", "nl", 1.2e-4)


def codegen_6b_multi() -> Pretraining:
    """6B on six languages: 315 billion tokens.

    The rates, the annealing, the batch and the 150,000 steps are not verified; the weights released are of step
    100,000.
    """
    return _codegen("6b", "multi", 0.4e-4)


def codegen_6b_mono() -> Pretraining:
    """6B on Python: 315 billion tokens.

    The rates, the annealing, the batch and the 150,000 steps are not verified; the weights released are of step
    140,000.
    """
    return _codegen("6b", "mono", 0.4e-4)


def codegen_16b_nl() -> Pretraining:
    """16B on natural language: 734 billion tokens. The rates, the annealing and the 350,000 steps are not verified."""
    return _codegen("16b", "nl", 0.9e-4)


def codegen_16b_multi() -> Pretraining:
    """16B on six languages: 315 billion tokens. The end rate and the annealing are not verified."""
    return _codegen("16b", "multi", 0.5e-4)


def codegen_16b_mono() -> Pretraining:
    """16B on Python: 315 billion tokens. The rates, the annealing and the 150,000 steps are not verified."""
    return _codegen("16b", "mono", 0.5e-4)
