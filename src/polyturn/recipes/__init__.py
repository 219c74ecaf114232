"""Whole runs as Python functions. A recipe is a function that returns a frozen dataclass; `run` does the rest."""

CODEGEN = [f"codegen_{size}_{stage}" for size in ("350m", "2b", "6b", "16b") for stage in ("nl", "multi", "mono")]
ONE_DEVICE = ["polyturn_3m", "polyturn_12m", "polyturn_42m", "polyturn_350m_h100", "polyturn_2b_h100"]
RECIPES = {
    "polyturn_micro_mono": "polyturn.recipes.micro:polyturn_micro_mono",
    "finetune": "polyturn.recipes.finetune:finetune",
    **{name: f"polyturn.recipes.codegen:{name}" for name in CODEGEN},
    **{name: f"polyturn.recipes.one_device:{name}" for name in ONE_DEVICE},
}
