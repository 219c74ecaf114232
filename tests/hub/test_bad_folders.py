"""Whatever is wrong with a folder is told in one sentence that names it and says what to do."""

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from codegen_cases import SMALL

from polyturn.hub.folder import read_folder
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.errors import UserError

type Damage = Callable[[Path], object]


def complaint(folder: Path, **options) -> str:
    """The sentence with which `folder` is refused."""
    with pytest.raises(UserError) as caught:
        read_folder(folder, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert "; " in sentence  # what is wrong; what to do
    return sentence


def sets(**values: object) -> Damage:
    """Change entries of config.json; None of a value removes the entry."""

    def damage(folder: Path) -> None:
        raw = json.loads((folder / "config.json").read_text()) | values
        kept = {key: value for key, value in raw.items() if value != "removed"}
        (folder / "config.json").write_text(json.dumps(kept))

    return damage


def tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Damage:
    def damage(folder: Path) -> None:
        stored = SMALL.tensors()
        change(stored)
        safetensors.numpy.save_file(stored, folder / "model.safetensors")

    return damage


def writes(name: str, content: str | bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def removes(name: str, then: Damage = lambda folder: None) -> Damage:
    return lambda folder: ((folder / name).unlink(), then(folder))


def cut(keep: Callable[[int], int]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        os.truncate(path, keep(path.stat().st_size))

    return damage


def index(**content: object) -> Damage:
    return removes("model.safetensors", writes("model.safetensors.index.json", json.dumps(content)))


QKV = "transformer.h.1.attn.qkv_proj.weight"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no config": (removes("config.json"), r"There is no config\.json in .*; give a folder"),
    "config is no JSON": (writes("config.json", "{"), r"config\.json is not valid JSON .*; fetch"),
    "config is no text": (
        writes("config.json", b"\xff\xfe\x00"),
        r"config\.json is not valid JSON .*; fetch",
    ),
    "config is no object": (writes("config.json", "[1]"), "does not hold a JSON object; fetch"),
    "deep config": (writes("config.json", "[" * 10**5), "is not valid JSON"),
    "other architecture": (sets(model_type="llama"), "a model of type 'llama'; give"),
    "no architecture": (sets(model_type="removed"), "a model of type None; give"),
    "other inner width": (sets(n_inner=100), "n_inner to 100; only .* null or 4 times n_embd, 192"),
    "other activation": (sets(activation_function="relu"), "activation_function to 'relu'; only"),
    "exact gelu": (sets(activation_function="gelu"), "activation_function to 'gelu'; only"),
    "tied": (sets(tie_word_embeddings=True), "ties the head to the embedding; save"),
    "bad epsilon": (sets(layer_norm_epsilon="x"), "layer_norm_epsilon to 'x'; it must"),
    "no width": (sets(n_embd="removed"), "does not set n_embd; it must be a positive whole number"),
    "width is text": (sets(n_embd="48"), "n_embd to '48'; it must be a positive whole number"),
    "no layers": (sets(n_layer=0), "n_layer to 0; it must"),
    "rotary is null": (sets(rotary_dim=None), "rotary_dim to None; it must"),
    "heads do not divide": (sets(n_head=7), "not a multiple of the 7 heads; change"),
    "heads do not fit blocks": (sets(n_head=6), "4 divides, and this model has 6; change"),
    "missing tensor": (tensors(lambda t: t.pop(QKV)), f"lacks the tensor {QKV}; fetch"),
    "missing tensors": (
        tensors(lambda t: (t.pop(QKV), t.pop("lm_head.bias"))),
        f"lacks the tensor {QKV} and 1 more; fetch",
    ),
    "more layers than said": (sets(n_layer=1), r"holds a tensor transformer\.h\.1\.\S+ .*no use for; check"),
    "fewer layers than said": (sets(n_layer=3), r"lacks the tensor transformer\.h\.2\.\S+ and 7 more; fetch"),
    "unknown tensor": (
        tensors(lambda t: t.update({"transformer.h.0.attn.qkv_proj.bias": np.zeros(144, np.float32)})),
        r"holds a tensor transformer\.h\.0\.attn\.qkv_proj\.bias .*no use for; check",
    ),
    "wrong shape": (
        tensors(lambda t: t.update({QKV: t[QKV].reshape(48, 144)})),
        rf"{QKV} with shape \[48, 144\] where config\.json asks for \[144, 48\]; fetch",
    ),
    "other width": (sets(n_embd=64), r"with shape \[\d+.*\] where config\.json asks for \[\d+.*\]; fetch"),
    "other vocabulary": (sets(vocab_size=50), r"shape \[40.*\] where config\.json asks for \[50.*\]; fetch"),
    "integers": (
        tensors(lambda t: t.update({QKV: t[QKV].astype(np.int32)})),
        f"{QKV} as I32; save the model as float32",
    ),
    "empty file": (cut(lambda size: 0), r"model\.safetensors is damaged or cut short .*; fetch"),
    "cut in the header": (cut(lambda size: 100), r"model\.safetensors is damaged or cut short .*; fetch"),
    "cut in the weights": (
        cut(lambda size: size // 2),
        r"model\.safetensors is damaged or cut short .*; fetch",
    ),
    "last byte lost": (cut(lambda size: size - 1), r"model\.safetensors is damaged or cut short .*; fetch"),
    "no safetensors": (writes("model.safetensors", "<!DOCTYPE html>"), "is damaged or cut short .*; fetch"),
    "no weights": (removes("model.safetensors"), r"There is no model\.safetensors in .*; fetch"),
    "PyTorch's own format": (
        removes("model.safetensors", writes("pytorch_model.bin", b"")),
        r"pytorch_model\.bin, .*; convert it to safetensors",
    ),
    "index without shards": (
        index(weight_map={"lm_head.bias": "model-00001-of-00002.safetensors"}),
        r"index\.json names model-00001-of-00002\.safetensors, which is missing; fetch",
    ),
    "index without a map": (index(metadata={}), "has no weight_map; fetch"),
    "index that leaves the folder": (
        index(weight_map={"lm_head.bias": "../model.safetensors"}),
        r"names '\.\./model\.safetensors', which is no file of this folder; fetch",
    ),
    "damaged index": (
        removes("model.safetensors", writes("model.safetensors.index.json", "{")),
        r"index\.json is not valid JSON .*; fetch",
    ),
    "damaged tokenizer": (writes("tokenizer.json", "{}"), "tokenizer files in .* cannot be read .*; fetch"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told_in_a_sentence(name: str, write_theirs):
    damage, sentence = DAMAGES[name]
    folder = write_theirs()
    damage(folder)
    assert re.search(sentence, complaint(folder))


def test_no_folder(tmp_path: Path):
    assert "There is no folder" in complaint(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder(write_theirs):
    assert "There is no folder" in complaint(write_theirs() / "model.safetensors")


def test_a_tokenizer_larger_than_the_vocabulary(write_theirs, tokenizer: Tokenizer):
    folder = write_theirs()
    tokenizer.save(folder)
    assert f"has {tokenizer.size} tokens and the model's vocabulary only 40 rows" in complaint(folder)


def test_blocks_that_do_not_divide_the_heads(write_theirs):
    assert "3 divides, and this model has 8" in complaint(write_theirs(), qkv_blocks=3)


@pytest.mark.parametrize("name", ["gelu_pytorch_tanh", "gelu_fast"])
def test_other_names_of_the_same_activation_are_read(name: str, write_theirs):
    folder = write_theirs()
    sets(activation_function=name, n_inner=192)(folder)
    assert read_folder(folder).config.layers == 2


def test_a_header_with_any_byte_changed_is_read_or_refused(write_theirs):
    folder = write_theirs()
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    draw = random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[draw.randrange(header)] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_folder(folder)
        except UserError:
            refused += 1
    assert refused > 100
