"""What is written is read again to the bit, whatever the type, the number of files and of blocks."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from codegen_cases import SMALL
from numpy.typing import DTypeLike

from polyturn.hub.folder import Folder, folder_digest, read_folder, write_folder
from polyturn.model.config import ModelConfig
from polyturn.model.params import Params, describe, is_info
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.errors import UserError

CONFIG = ModelConfig(layers=2, width=24, heads=4, rotary=4, vocab=400, context=128, norm_epsilon=1e-6)


def random_params(config: ModelConfig = CONFIG, dtype: DTypeLike = np.float32) -> Params[np.ndarray]:
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda info: draw.standard_normal(info.shape).astype(dtype), describe(config), is_leaf=is_info)


def assert_same(ours: Params, theirs: Params) -> None:
    """Equal in type, shape and every bit."""
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert mine.dtype == other.dtype
        assert mine.shape == other.shape
        assert mine.tobytes() == other.tobytes()


def copy(folder: Folder, path: Path, **options) -> Folder:
    write_folder(path, folder.config, folder.params, folder.tokenizer, **options)
    return read_folder(path)


def test_float32_comes_back_to_the_bit(tmp_path: Path, tokenizer: Tokenizer):
    params = random_params()
    write_folder(tmp_path / "m", CONFIG, params, tokenizer, "float32")
    folder = read_folder(tmp_path / "m")
    assert folder.config == CONFIG
    assert folder.path == tmp_path / "m"
    assert_same(folder.params, params)
    assert folder.tokenizer is not None
    assert folder.tokenizer.encode("    x = 12\n") == tokenizer.encode("    x = 12\n")


def test_bfloat16_comes_back_to_the_bit(tmp_path: Path):
    low = random_params(dtype=jnp.bfloat16)
    write_folder(tmp_path / "m", CONFIG, low, dtype="bfloat16")
    assert_same(read_folder(tmp_path / "m", dtype=jnp.bfloat16).params, low)
    assert_same(read_folder(tmp_path / "m").params, jax.tree.map(lambda a: a.astype(np.float32), low))
    assert read_folder(tmp_path / "m").tokenizer is None


def test_weights_are_rounded_as_jax_rounds_them(tmp_path: Path):
    params = jax.tree.map(jnp.asarray, random_params())
    write_folder(tmp_path / "m", CONFIG, params)
    rounded = jax.tree.map(lambda a: np.asarray(a.astype(jnp.bfloat16)), params)
    assert_same(read_folder(tmp_path / "m", dtype=jnp.bfloat16).params, rounded)


def test_float16_as_published_is_read(write_theirs):
    half = {name: tensor.astype(np.float16) for name, tensor in SMALL.tensors().items()}
    single = {name: tensor.astype(np.float32) for name, tensor in half.items()}
    assert_same(read_folder(write_theirs(SMALL, half)).params, read_folder(write_theirs(SMALL, single)).params)


def test_several_files_equal_one(tmp_path: Path):
    params = random_params()
    write_folder(tmp_path / "one", CONFIG, params, dtype="float32")
    write_folder(tmp_path / "many", CONFIG, params, dtype="float32", shard_bytes=20_000)
    one, many = read_folder(tmp_path / "one"), read_folder(tmp_path / "many")
    assert_same(one.params, many.params)
    assert one.digest == many.digest

    files = sorted(path.name for path in (tmp_path / "many").glob("*.safetensors"))
    assert len(files) > 3
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(files)
    sizes = []
    for file in files:
        tensors = safetensors.numpy.load_file(tmp_path / "many" / file)
        assert {name for name, at in index["weight_map"].items() if at == file} == set(tensors)
        sizes.append(sum(tensor.nbytes for tensor in tensors.values()))
        assert sizes[-1] <= 20_000 or len(tensors) == 1
    assert index["metadata"]["total_size"] == sum(sizes) == 4 * CONFIG.parameters


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, tokenizer: Tokenizer):
    for name in ("a", "b"):
        write_folder(tmp_path / name, CONFIG, random_params(), tokenizer, extra={"README.md": "# é\n"})
    assert sorted(os.listdir(tmp_path / "a")) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_others_may_read_what_is_written(tmp_path: Path):
    write_folder(tmp_path / "m", CONFIG, random_params())
    modes = {f.name: f.stat().st_mode & 0o777 for f in (tmp_path / "m").iterdir()}
    assert set(modes.values()) == {(tmp_path / "m").stat().st_mode & 0o666}


def test_digest_tells_models_apart(tmp_path: Path, tokenizer: Tokenizer):
    params = random_params()
    changed = replace(params, head_bias=params.head_bias + np.float32(1))
    variants = {
        "plain": (CONFIG, params, None, "float32"),
        "weights": (CONFIG, changed, None, "float32"),
        "type": (CONFIG, params, None, "bfloat16"),
        "shape": (replace(CONFIG, rotary=2), params, None, "float32"),
        "tokenizer": (CONFIG, params, tokenizer, "float32"),
    }
    digests = set()
    for name, (config, weights, tokens, dtype) in variants.items():
        write_folder(tmp_path / name, config, weights, tokens, dtype)
        digests.add(read_folder(tmp_path / name).digest)
        assert folder_digest(tmp_path / name) == read_folder(tmp_path / name).digest
    digests.add(read_folder(tmp_path / "plain", qkv_blocks=2).digest)
    assert len(digests) == len(variants) + 1


def test_configuration_says_what_transformers_needs(tmp_path: Path, tokenizer: Tokenizer):
    write_folder(tmp_path / "m", CONFIG, random_params(), tokenizer)
    raw = json.loads((tmp_path / "m" / "config.json").read_text())
    ids = {
        "bos_token_id": tokenizer.eos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    assert raw.items() >= ids.items()
    assert json.loads((tmp_path / "m" / "generation_config.json").read_text()) == ids
    wanted = {
        "model_type": "codegen",
        "architectures": ["CodeGenForCausalLM"],
        "n_layer": 2,
        "n_embd": 24,
        "n_head": 4,
        "rotary_dim": 4,
        "vocab_size": 400,
        "n_positions": 128,
        "n_ctx": 128,
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-6,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    assert raw.items() >= wanted.items()


def heads_in_blocks(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int, blocks: int) -> np.ndarray:
    """The fused projection from plain ones, rows head after head, by the definition: a loop over blocks."""
    width = len(q) // heads
    rows = []
    for block in range(blocks):
        inside = range(block * heads // blocks, (block + 1) * heads // blocks)
        for part in (q, v, k):
            rows += [part[head * width : (head + 1) * width] for head in inside]
    return np.concatenate(rows)


@pytest.mark.parametrize("blocks", [1, 2, 4, 8])
def test_any_number_of_blocks_gives_the_same_model(blocks: int, write_theirs, tmp_path: Path):
    tensors, d = SMALL.tensors(), SMALL.width
    plain = {}
    for layer in range(SMALL.layers):
        name = f"transformer.h.{layer}.attn.qkv_proj.weight"
        plain[layer] = q, k, v = np.split(tensors[name], 3)
        tensors[name] = heads_in_blocks(q, k, v, SMALL.heads, blocks)
    folder = read_folder(write_theirs(SMALL, tensors), qkv_blocks=blocks)
    for layer, parts in plain.items():
        for position, part in enumerate(parts):
            np.testing.assert_array_equal(folder.params.blocks.w_in[layer, :, position], part.T)
    assert folder.params.blocks.w_in.shape == (2, d, 7, d)
    # Written again it has four blocks, whatever it had.
    again = copy(folder, tmp_path / "again", dtype="float32")
    assert_same(again.params, folder.params)
    stored = safetensors.numpy.load_file(tmp_path / "again" / "model.safetensors")
    for layer, (q, k, v) in plain.items():
        name = f"transformer.h.{layer}.attn.qkv_proj.weight"
        np.testing.assert_array_equal(stored[name], heads_in_blocks(q, k, v, SMALL.heads, 4))


def test_tensors_of_transformers_come_back_to_the_bit(write_theirs, tmp_path: Path):
    copy(read_folder(write_theirs()), tmp_path / "copy", dtype="float32")
    written = safetensors.numpy.load_file(tmp_path / "copy" / "model.safetensors")
    original = SMALL.tensors()
    assert written.keys() == original.keys()
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, original[name])
    with safetensors.safe_open(tmp_path / "copy" / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_masks_and_tables_of_old_releases_are_passed_over(write_theirs):
    plain = read_folder(write_theirs()).params
    old = {
        f"transformer.h.{layer}.attn.{name}": np.ones((1, 1, 4, 4), dtype)
        for layer in range(SMALL.layers)
        for name, dtype in {"causal_mask": np.bool_, "bias": np.uint8, "masked_bias": np.float32}.items()
    }
    assert_same(read_folder(write_theirs(SMALL, SMALL.tensors() | old)).params, plain)


def test_heads_that_do_not_fit_four_blocks_are_not_written(tmp_path: Path):
    config = replace(CONFIG, heads=6)
    with pytest.raises(UserError, match="4 divides, and this model has 6"):
        write_folder(tmp_path / "m", config, random_params(config))
    assert not (tmp_path / "m").exists()


def test_a_tokenizer_larger_than_the_vocabulary_is_not_written(tmp_path: Path, tokenizer: Tokenizer):
    config = replace(CONFIG, vocab=tokenizer.size - 1)
    with pytest.raises(UserError, match=rf"has {tokenizer.size} tokens .* only {tokenizer.size - 1} rows"):
        write_folder(tmp_path / "m", config, random_params(config), tokenizer)
    assert not (tmp_path / "m").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_older_model_is_replaced_as_a_whole(tmp_path: Path):
    write_folder(tmp_path / "m", CONFIG, random_params(), shard_bytes=20_000)
    write_folder(tmp_path / "m", CONFIG, random_params())
    write_folder(tmp_path / "fresh", CONFIG, random_params())
    assert contents(tmp_path / "m") == contents(tmp_path / "fresh")


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path):
    write_folder(tmp_path / "m", CONFIG, random_params())
    (tmp_path / "m" / "notes.txt").write_text("mine")
    before = contents(tmp_path / "m")
    with pytest.raises(UserError, match=r"notes\.txt for one"):
        write_folder(tmp_path / "m", CONFIG, random_params(), dtype="float32")
    assert contents(tmp_path / "m") == before


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Within, writing more than `size` bytes to a file fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 700, 2_000, 20_000])
@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_nothing_behind(size: int, existing: bool, tmp_path: Path, tokenizer: Tokenizer):
    if existing:
        write_folder(tmp_path / "m", CONFIG, random_params(), tokenizer)
    before = contents(tmp_path / "m") if existing else None
    other = jax.tree.map(np.zeros_like, random_params())
    card = {"README.md": "x" * 1_000}
    with (
        pytest.raises(UserError, match=r"^Cannot write .*: File too large; free some space"),
        files_at_most(size),
    ):
        write_folder(tmp_path / "m", CONFIG, other, tokenizer, "float32", card)
    assert os.listdir(tmp_path) == (["m"] if existing else [])
    if existing:
        assert contents(tmp_path / "m") == before


def test_the_sizes_above_stop_every_kind_of_file(tmp_path: Path, tokenizer: Tokenizer):
    write_folder(tmp_path / "m", CONFIG, random_params(), tokenizer, "float32", {"README.md": "x" * 1_000})
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "m").iterdir()}
    first = [next((n for n in sizes if sizes[n] > size), None) for size in (0, 100, 700, 2_000, 20_000)]
    assert None not in first
    assert max(sizes, key=lambda name: sizes[name]) == "model.safetensors"
    assert 2_000 < sizes["tokenizer.json"] < 20_000 < sizes["model.safetensors"]


def test_a_place_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "m"):
        with pytest.raises(UserError, match=r"^Cannot write .*; "):
            write_folder(path, CONFIG, random_params())
    assert contents(tmp_path) == {"file": b"mine"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told_in_a_sentence(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"^Cannot write .*Permission denied"):
        write_folder(tmp_path / "m", CONFIG, random_params())
