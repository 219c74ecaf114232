"""Whole runs as Python functions. A recipe is a function that returns a frozen dataclass; `run` does the rest."""

RECIPES = {
    "polyturn_micro_mono": "polyturn.recipes.micro:polyturn_micro_mono",
}
