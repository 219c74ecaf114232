"""`polyturn plan`: what a recipe takes on devices that are not there."""

import json
import os
from dataclasses import asdict, replace
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from polyturn.recipes import RECIPES
from polyturn.utils.errors import UserError

if TYPE_CHECKING:
    from polyturn.train.compiled import Compiled
    from polyturn.train.config import TrainConfig
    from polyturn.train.plan import Plan

GIB = 2**30
type Part = tuple[str, TrainConfig, int]  # name, configuration, tokens in a row


def plan(
    recipe: Annotated[str, tyro.conf.Positional],
    mesh: str | None = None,
    device: str = "h100",
    rows: int | None = None,
    accumulate: int | None = None,
    remat: str | None = None,
    utilisation: float = 0.45,
    compile: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Work out memory, FLOPs and time of a recipe on a mesh, and what fits if it does not. Needs no such device.

    Weights, moments and gradients are exact, activations an estimate. Exit code 1 if it does not fit.

    Args:
        recipe: Name of the recipe, such as codegen_16b_mono.
        mesh: Devices along each axis, as in data=4,fsdp=16; by default the recipe's own, on one device.
        device: h100, h200, b200, a100, a100-40, v4, v5e, v5p or v6e.
        rows: Rows per step over all devices, instead of the recipe's.
        accumulate: Micro-batches per step, instead of the recipe's.
        remat: none, attention, products or full, instead of the recipe's.
        utilisation: Share of the peak at which the devices compute; remat counts as work.
        compile: Also compile the step for that mesh and tell what the compiler says; needs the device's plugin.
        json_output: One JSON object instead of tables.
    """
    parts = [_changed(part, mesh, rows, accumulate, remat) for part in _parts(recipe)]
    if not 0 < utilisation <= 1:
        raise UserError(f"--utilisation is a share of the peak, above 0 and at most 1, not {utilisation}.")
    os.environ["JAX_PLATFORMS"] = (
        "cpu"  # the devices of this machine stay untouched; and plugins compile without theirs
    )

    from polyturn.train import plan as planning
    from polyturn.train.flops import by_name

    kind = by_name(device)
    plans = [planning.plan(config, row, kind, utilisation) for _, config, row in parts]
    compiled = [_compiled(p) if compile else None for p in plans]
    better = [None if p.fits else planning.fitting(p.config, p.row, kind, utilisation) for p in plans]
    if json_output:
        named = zip(parts, plans, compiled, better, strict=True)
        stages = [{"stage": name, **_json(p), **_extra(c, b)} for (name, _, _), p, c, b in named]
        print(json.dumps({"schema": 1, "recipe": recipe, "device": device, "stages": stages}))
    else:
        for (name, _, _), p, c, b in zip(parts, plans, compiled, better, strict=True):
            print(_table(name, p, c, b))
    return 0 if all(p.fits for p in plans) else 1


def _parts(recipe: str) -> list[Part]:
    """The stages of a recipe."""
    if recipe not in RECIPES:
        raise UserError(f"There is no recipe {recipe}; there are: {', '.join(RECIPES)}.")
    if recipe == "finetune":
        raise UserError("finetune takes the shape of the model that it is given; plan the recipe of that size.")
    module, name = RECIPES[recipe].split(":")
    made: Any = getattr(import_module(module), name)()
    if hasattr(made, "stages"):
        return [(f"{recipe}, {stage.name}", stage.train, stage.data.row) for stage in made.stages]
    return [(recipe, made.train, made.row)]


def _changed(part: Part, mesh: str | None, rows: int | None, accumulate: int | None, remat: str | None) -> Part:
    from polyturn.parallel.mesh import MeshShape

    name, config, row = part
    shape = config.mesh if mesh is None else MeshShape.parse(mesh)
    if mesh is None and -1 in shape.sizes:
        shape = shape.over(1)
    elif -1 in shape.sizes:
        raise UserError(f"--mesh {mesh} leaves open how many devices there are; write a number instead of -1.")
    compute = config.compute if remat is None else replace(config.compute, remat=remat)
    accumulate = config.accumulate if accumulate is None else accumulate
    changed = replace(
        config, mesh=shape, rows=config.rows if rows is None else rows, compute=compute, accumulate=accumulate
    )
    return name, changed, row


def _compiled(p: "Plan") -> "Compiled":
    from polyturn.train.compiled import compile_step

    return compile_step(p.config, p.row, p.device)


def _json(p: "Plan") -> dict[str, Any]:
    """Bytes, FLOPs and seconds of a plan."""
    return {
        "mesh": asdict(p.config.mesh),
        "rows": p.config.rows,
        "row": p.row,
        "accumulate": p.config.accumulate,
        "micro_rows": p.config.micro_rows(p.config.mesh),
        "remat": p.config.compute.remat,
        "parameters": p.config.model.parameters,
        "device_memory": p.device.memory,
        "memory": asdict(p.memory) | {"total": p.memory.total},
        "fits": p.fits,
        "flops_per_step": p.flops,
        "executed_flops_per_step": p.executed,
        "sent_bytes_per_step": p.sent,
        "sending_seconds": p.sending,
        "computing_seconds": p.computing,
        "step_seconds": p.seconds,
        "model_flops_utilisation": p.utilisation,
        "tokens_per_step": p.tokens,
        "steps": p.config.steps,
        "days": p.days,
    }


def _extra(compiled: "Compiled | None", better: "Plan | None") -> dict[str, Any]:
    return {
        "compiled": compiled and asdict(compiled) | {"total": compiled.total},
        "fitting": better and _json(better),
    }


def _table(name: str, p: "Plan", compiled: "Compiled | None", better: "Plan | None") -> str:
    from polyturn.train.flops import FORMULA
    from polyturn.train.plan import USABLE

    config, m = p.config, p.memory
    room = f"{USABLE:.0%} of {p.device.memory / GIB:.1f} GiB"
    micro = config.micro_rows(config.mesh)
    lines = [
        f"{name}: {config.model.parameters / 1e6:,.1f} million parameters",
        f"{config.mesh.size} x {p.device.name}, {config.mesh}",
        f"{config.rows} rows of {p.row} tokens a step, {p.tokens:,} tokens; {_way(p)}",
        "",
        "Memory of each device      GiB",
        *(
            f"  {label:<22}{size / GIB:>7.2f}  {how}"
            for label, size, how in (
                ("weights", m.weights, "exact, float32"),
                ("Adam's moments", m.moments, "exact, float32"),
                ("gradients", m.gradients, "exact, float32" + (", sum and newest" if config.accumulate > 1 else "")),
                ("activations kept", m.kept, f"estimate, traced: {micro} rows, remat {config.compute.remat}"),
                ("working memory", m.working, "estimate: a layer, its whole weights, or a chunk's logits"),
                ("total", m.total, f"{'fits in' if p.fits else 'DOES NOT FIT in'} {room}"),
            )
        ),
    ]
    if compiled:
        note = f"what the compiler says ({compiled.seconds:.0f} s)"
        lines.append(f"  {'compiled':<22}{compiled.total / GIB:>7.2f}  {note}")
    lines += ["", *_time(p, FORMULA)]
    if better:
        lines += ["", f"What fits, with the smallest expected time: {better.config.mesh}; {_way(better)}:"]
        lines += [
            f"  {better.memory.total / GIB:.2f} GiB a device, {better.seconds:.3g} s a step, {better.days:.3g} days"
        ]
    elif not p.fits:
        lines += ["", f"Nothing fits on {config.mesh.size} such devices; take more of them, or larger ones."]
    return "\n".join(lines) + "\n"


def _way(p: "Plan") -> str:
    config = p.config
    return f"{config.accumulate} x {config.micro_rows(config.mesh)} rows a device, remat {config.compute.remat}"


def _time(p: "Plan", formula: str) -> list[str]:
    lines = [
        f"A step: {p.flops / 1e12:,.4g} TFLOP of the model ({formula}),",
        f"  {p.executed / 1e12:,.4g} TFLOP with what remat repeats",
        f"  {p.computing:>9.3g} s computing",
    ]
    lines += [
        f"  {p.sending[axis]:>9.3g} s sending {p.sent[axis] / 1e9:,.3g} GB a device along {axis} (estimate)"
        for axis in p.sent
        if p.sent[axis]
    ]
    slowest = max(p.sending, key=lambda axis: p.sending[axis])
    bound = "computing" if p.seconds == p.computing else f"sending along {slowest}"
    return [
        *lines,
        f"  {p.seconds:>9.3g} s expected, bound by {bound}: {p.tokens / p.seconds:,.0f} tokens/s, "
        f"{p.utilisation:.1%} model-FLOPs utilisation",
        f"The run: {p.config.steps:,} steps, {p.tokens * p.config.steps / 1e9:,.4g} billion tokens, {p.days:,.3g} days",
    ]
