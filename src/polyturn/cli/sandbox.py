"""`polyturn sandbox check`: what isolation this host gives, and the self-test."""

import json
from dataclasses import asdict
from typing import Annotated

import tyro


def check(json_output: Annotated[bool, tyro.conf.arg(name="json")] = False) -> int:
    """Show each layer of isolation, whether this host gives it, and try whether it holds.

    Exit code 1 if a layer that running strange programs demands is missing, or if the self-test fails.

    Args:
        json_output: Print one JSON object.
    """
    from polyturn.sandbox import Isolation, layer_states, self_test

    layers = layer_states()
    findings = self_test(Isolation(allow_weaker=True, packages=()))
    full = all(layer.engaged for layer in layers if layer.demanded)
    sound = all(finding.ok for finding in findings)
    if json_output:
        report = {"schema": 1, "full": full, "sound": sound}
        report |= {"layers": [asdict(layer) for layer in layers], "self_test": [asdict(item) for item in findings]}
        print(json.dumps(report))
        return 0 if full and sound else 1
    _show(layers, findings)
    if full and sound:
        print("\nThis host gives full isolation, and it holds.")
    elif full:
        print("\nThe self-test failed: do not grade on this host.")
    else:
        print("\nLayers are missing: `exec` and grading refuse to run here without --allow-weaker-isolation.")
    return 0 if full and sound else 1


def _show(layers: list, findings: list) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Layers of isolation", title_justify="left", box=None, pad_edge=False)
    for heading in ("layer", "here", "keeps a program from"):
        table.add_column(heading)
    for layer in layers:
        here = "yes" if layer.engaged else "[bold red]no[/]" if layer.demanded else "no"
        why = "" if layer.engaged else f" [dim](missing: {layer.missing_because})[/]"
        table.add_row(layer.name, here, layer.blocks + why)
    tests = Table(title="\nSelf-test", title_justify="left", box=None, pad_edge=False)
    for heading in ("tried", "held", "outcome"):
        tests.add_column(heading)
    for finding in findings:
        tests.add_row(finding.name, "yes" if finding.ok else "[bold red]no[/]", finding.outcome)
    console = Console()
    console.print(table)
    console.print(tests)
