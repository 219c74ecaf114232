"""Checkpoints: whole or not there, checked byte by byte, loaded on any mesh."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from small_run import CONFIG, events, numbers, run, same, source

from polyturn.hub.folder import read_folder
from polyturn.model.params import cast
from polyturn.train import manifests
from polyturn.train.checkpoints import checkpoints
from polyturn.train.export import export
from polyturn.train.step import State, abstract
from polyturn.utils.errors import UserError


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[State, Path]:
    folder = tmp_path_factory.mktemp("finished")
    return run(folder), folder


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(folder: Path) -> None:
    file = largest(folder / "24")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(folder: Path) -> None:
    file = largest(folder / "24")
    file.write_bytes(file.read_bytes()[:-1])


def lose(folder: Path) -> None:
    largest(folder / "24").unlink()


def scribble(folder: Path) -> None:
    (folder / "24.json").write_text('{"step": 24')


def rewrite(folder: Path, old: str, new: str) -> None:
    """Change the manifest, which stays JSON."""
    path = folder / "24.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def other_key(folder: Path) -> None:
    rewrite(folder, '"bytes"', '"bytds"')


def other_number(folder: Path) -> None:
    rewrite(folder, '"useful_s": ', '"useful_s": 1')


def other_settings(folder: Path) -> None:
    rewrite(folder, '"settings": "', '"settings": "f')


def no_own_digest(folder: Path) -> None:
    rewrite(folder, '"sha256": "' + json.loads((folder / "24.json").read_text())["sha256"], '"sha257": "')


def no_files(folder: Path) -> None:
    manifest = json.loads((folder / "24.json").read_text())
    (folder / "24.json").write_text(json.dumps({**manifest, "files": {}}))


def half(folder: Path) -> None:
    (folder / "24.json").unlink()
    (folder / "24").rename(folder / "24.orbax-checkpoint-tmp")


def unhashed(folder: Path) -> None:
    (folder / "24.json").unlink()


MANIFEST_HARMS = [scribble, other_key, other_number, other_settings, no_own_digest, no_files]
HARMS = [flip, cut, lose, *MANIFEST_HARMS, half, unhashed]


@pytest.mark.parametrize("harm", HARMS)
def test_the_newest_whole_one_is_taken(
    tmp_path: Path, finished: tuple[State, Path], harm: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[1], folder)
    harm(folder / "checkpoints")
    assert same(run(folder), finished[0])
    said = capsys.readouterr().err
    assert "step 24" in said
    assert "going on from step 18" in said
    assert events(folder) == said.strip().splitlines()[1:]  # the first says what it runs on
    assert numbers(folder) == numbers(finished[1])
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == ["18", "18.json", "24", "24.json"]


def unsealed(folder: Path) -> dict[str, Any]:
    """Make the newest manifest one of those that carried no digest of their own."""
    manifest = json.loads((folder / "24.json").read_text())
    del manifest["sha256"], manifest["start"]
    (folder / "24.json").write_text(json.dumps(manifest))
    return manifest


def test_a_manifest_without_a_digest_of_its_own(tmp_path: Path, finished: tuple[State, Path]) -> None:
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "old")
    manifest = unsealed(tmp_path / "old")
    assert manifests.read(tmp_path / "old", 24) == manifest
    name, file = next(iter(manifest["files"].items()))
    for harm in (
        {"files": {}},
        {"files": [1]},
        {"files": {name: {"bytes": file["bytes"]}}},
        {"useful_s": "x"},
        {"n": 1},
    ):
        (tmp_path / "old" / "24.json").write_text(json.dumps({**manifest, **harm}))
        assert manifests.read(tmp_path / "old", 24) is None


def test_a_checkpoint_that_was_still_arriving(tmp_path: Path, finished: tuple[State, Path]) -> None:
    """Nothing of it is gone: with the rest of the files and its manifest's name it counts again."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(finished[1] / "checkpoints", folder)
    late = largest(folder / "24").rename(tmp_path / "late")
    identity = {name: str(manifests.read(folder, 18)[name]) for name in ("settings", "data")}  # type: ignore[index]
    with checkpoints(folder, identity, 2, None) as saved:
        assert (saved.newest()[0] or {})["step"] == 18
        assert (saved.newest()[0] or {})["step"] == 18
        late.rename(
            folder / "24" / largest(finished[1] / "checkpoints" / "24").relative_to(finished[1] / "checkpoints" / "24")
        )
        (folder / "24.json.damaged").rename(folder / "24.json")
        assert (saved.newest()[0] or {})["step"] == 24


def test_all_of_them_damaged(tmp_path: Path, finished: tuple[State, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[1], folder)
    for step in (18, 24):
        largest(folder / "checkpoints" / str(step)).unlink()
    assert same(run(folder), finished[0])
    assert "starting anew" in capsys.readouterr().err


@pytest.mark.parametrize(("config", "count"), [(replace(CONFIG, seed=1), 200), (CONFIG, 100)])
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, finished: tuple[State, Path], config, count) -> None:
    """Somebody copied it here; the folder's own record knows nothing of it."""
    run(tmp_path, config, source=source(count, seed=config.seed), stop_after=0.0)
    for name in ("24", "24.json"):
        there = finished[1] / "checkpoints" / name
        (shutil.copytree if there.is_dir() else shutil.copy)(there, tmp_path / "checkpoints" / name)
    with pytest.raises(UserError, match="is of a run with other"):
        run(tmp_path, config, source=source(count, seed=config.seed))
    assert (tmp_path / "checkpoints" / "24.json").exists()


def sharded(devices: int) -> State:
    """The abstract state on a mesh of so many devices: what they divide is cut, and it lies in another axis for 8."""
    mesh = jax.make_mesh((devices,), ("fsdp",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:devices])

    def place(a: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        axes = [n for n, size in enumerate(a.shape) if size % 8 == 0]
        spec = PartitionSpec(*("fsdp" if n == axes[-1] else None for n in range(a.ndim))) if axes else PartitionSpec()
        return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(mesh, spec))

    return jax.tree.map(place, abstract(CONFIG))


@pytest.mark.parametrize(("saving", "loading"), [(8, 1), (1, 8), (4, 2)])
def test_a_checkpoint_loads_on_another_mesh(
    tmp_path: Path, finished: tuple[State, Path], saving: int, loading: int
) -> None:
    state = jax.tree.map(lambda a, like: jax.device_put(a, like.sharding), finished[0], sharded(saving))
    with checkpoints(tmp_path, {}, 1, None) as saved:
        saved.save(state, 24, {})
        saved.wait()
        manifest, _ = saved.newest()
        assert manifest is not None
        loaded = saved.load(24, sharded(loading))
    assert same(loaded, finished[0])
    assert loaded.params.head.sharding == sharded(loading).params.head.sharding
    assert len(loaded.params.head.sharding.device_set) == loading


def test_a_state_of_other_shapes_is_refused(finished: tuple[State, Path]) -> None:
    other = replace(CONFIG, model=replace(CONFIG.model, width=32))
    with (
        checkpoints(finished[1] / "checkpoints", {}, 2, None) as saved,
        pytest.raises(UserError, match="another version"),
    ):
        saved.load(24, abstract(other))


def test_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not ours")
    for step in range(1, 13):
        (tmp_path / str(step)).mkdir()
        (tmp_path / str(step) / "file").write_text(str(step))
        manifests.write(tmp_path, step, {})
    (tmp_path / "11.orbax-checkpoint-tmp").mkdir()
    manifests.disown(tmp_path, 9)
    assert manifests.unfinished(tmp_path) == []
    manifests.prune(tmp_path, last=2, every=5)
    assert manifests.steps(tmp_path) == [5, 10, 11, 12]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*map(str, (5, 10, 11, 12)), *(f"{n}.json" for n in (5, 10, 11, 12)), "notes.txt"]
    )


def test_the_manifest_says_what_it_is(finished: tuple[State, Path]) -> None:
    manifest = json.loads((finished[1] / "checkpoints" / "24.json").read_text())
    assert manifest["tokens"] == 24 * CONFIG.rows * 33
    assert manifest["data"] == source().digest()
    found = {str(p.relative_to(finished[1] / "checkpoints" / "24")) for p in largest_all(finished[1])}
    assert set(manifest["files"]) == found


def largest_all(folder: Path) -> list[Path]:
    return [path for path in (folder / "checkpoints" / "24").rglob("*") if path.is_file()]


@pytest.mark.parametrize("step", [None, 18])
def test_a_model_folder_from_any_checkpoint(tmp_path: Path, finished: tuple[State, Path], step: int | None) -> None:
    export(finished[1], tmp_path / "model", step, dtype="float32")
    ours = read_folder(tmp_path / "model")
    assert ours.config == CONFIG.model
    if step is None:
        for a, b in zip(jax.tree.leaves(ours.params), jax.tree.leaves(finished[0].params), strict=True):
            assert np.array_equal(a, np.asarray(b))
    else:
        assert not np.array_equal(ours.params.head, np.asarray(cast(finished[0].params, np.float32).head))


def test_a_checkpoint_that_the_run_removes_while_it_is_read(
    tmp_path: Path, finished: tuple[State, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest is looked for anew; one that was asked for is told to be gone."""
    checked = manifests.damage

    def prune(folder: Path, manifest: manifests.Manifest) -> str | None:
        wrong = checked(folder, manifest)
        if manifest["step"] == 24:
            (folder / "24.json").unlink()
            shutil.rmtree(folder / "24")
        return wrong

    monkeypatch.setattr(manifests, "damage", prune)
    for name, step in (("one", None), ("other", 24)):
        shutil.copytree(finished[1], tmp_path / name)
        if step is None:
            assert export(tmp_path / name, tmp_path / "model") == 18
        else:
            with pytest.raises(UserError, match="no checkpoint of step 24; there are: 18"):
                export(tmp_path / name, tmp_path / "other_model", step)


def test_what_cannot_be_exported(tmp_path: Path, finished: tuple[State, Path]) -> None:
    with pytest.raises(UserError, match="has no checkpoint of step 7; there are: 18, 24"):
        export(finished[1], tmp_path / "model", 7)
    with pytest.raises(UserError, match="holds no run"):
        export(tmp_path, tmp_path / "model")
    shutil.copytree(finished[1], tmp_path / "run")
    cut(tmp_path / "run" / "checkpoints")
    with pytest.raises(UserError, match="damaged"):
        export(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()
