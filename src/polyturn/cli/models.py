"""`polyturn models`: what can be named after --model."""

import json
from typing import Annotated

import tyro


def models(json_output: Annotated[bool, tyro.conf.arg(name="json")] = False) -> int:
    """List the built-in models and those in the local Hugging Face cache.

    Args:
        json_output: One JSON object instead of a table.
    """
    from polyturn.hub.catalogue import listing

    found = listing()
    if json_output:
        print(json.dumps(found))
        return 0
    for m in found["models"]:
        star = "  (default)" if m["default"] else ""
        print(f"{m['name']:<28} {m['parameters'] / 1e6:>9,.1f} M  {m['source']}{star}")
    return 0
