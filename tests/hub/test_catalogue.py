"""Models are found by built-in name, by path, in the Hugging Face cache, on the Hub; in that order."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from polyturn.hub import catalogue
from polyturn.hub.catalogue import builtin_models, cached_models, listing, resolve
from polyturn.utils.errors import UserError

REVISION = "0123456789abcdef0123456789abcdef01234567"
PARAMETERS = 2 * (12 * 48 * 48 + 7 * 48) + 2 * 48 + 2 * 40 * 48 + 40  # of conftest's small model


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, empty cache and no built-in models; returns the cache."""
    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(catalogue, "BUILTIN", tmp_path / "builtin")
    return tmp_path / "cache"


@pytest.fixture
def model(write_theirs) -> Path:
    return write_theirs()


def put_in_cache(model: Path, cache: Path, name: str = "Owner/some--model.x") -> Path:
    """Lay `model` out as huggingface_hub does."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    return Path(shutil.copytree(model, repository / "snapshots" / REVISION))


def test_order_is_builtin_then_folder_then_cache(model: Path, places: Path, tmp_path: Path):
    (cached,) = [put_in_cache(model, places, "tiny/model")]
    assert resolve("tiny/model") == cached
    local = Path("tiny/model")
    shutil.copytree(model, local)
    assert resolve("tiny/model") == local
    assert resolve(local.absolute()) == local.absolute()

    shutil.copytree(model, Path("tiny-mono"))
    assert resolve("tiny-mono") == Path("tiny-mono")
    builtin = Path(shutil.copytree(model, tmp_path / "builtin" / "tiny-mono"))
    assert resolve("tiny-mono") == builtin
    assert resolve("./tiny-mono") == Path("tiny-mono")


def test_listing_is_what_the_command_line_prints(model: Path, places: Path, tmp_path: Path):
    assert listing() == {"schema": 1, "models": []}
    shutil.copytree(model, tmp_path / "builtin" / catalogue.DEFAULT)
    shutil.copytree(model, tmp_path / "builtin" / "another")
    put_in_cache(model, places)
    rows = [
        {"name": "another", "parameters": PARAMETERS, "source": "built-in", "default": False},
        {"name": "polyturn-micro-mono", "parameters": PARAMETERS, "source": "built-in", "default": True},
        {"name": "Owner/some--model.x", "parameters": PARAMETERS, "source": "cache", "default": False},
    ]
    assert json.loads(json.dumps(listing())) == {"schema": 1, "models": rows}
    for entry in builtin_models() + cached_models():
        assert resolve(entry.name) == entry.path


def test_what_is_of_no_use_in_the_cache_is_left_out(model: Path, places: Path):
    other = put_in_cache(model, places, "a/llama")
    (other / "config.json").write_text('{"model_type": "llama"}')
    (put_in_cache(model, places, "a/only-configured") / "model.safetensors").unlink()
    (put_in_cache(model, places, "a/unfinished") / "config.json").unlink()
    shutil.rmtree(places / "models--a--unfinished" / "refs")
    (places / "datasets--a--b").mkdir()
    (places / "version.txt").write_text("1")
    assert cached_models() == []


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"HF_HUB_CACHE": "{tmp}/x"}, "x"),
        ({"HF_HOME": "{tmp}/y"}, "y/hub"),
        ({"HF_HUB_CACHE": "{tmp}/x", "HF_HOME": "{tmp}/y"}, "x"),
        ({"XDG_CACHE_HOME": "{tmp}/z"}, "z/huggingface/hub"),
        ({"HOME": "{tmp}/h"}, "h/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_huggingface_hub_keeps_it(
    variables: dict[str, str], place: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HF_HUB_CACHE")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    put_in_cache(model, tmp_path / place)
    assert resolve("Owner/some--model.x").is_relative_to(tmp_path / place)


def test_a_model_that_is_nowhere_is_told_in_a_sentence(model: Path, tmp_path: Path):
    for name in ("no-such-model", "../up", "a/b/c", "/no/such/folder", ""):
        if name:
            with pytest.raises(UserError, match=r"There is no model .*give a built-in name \(there are none\)"):
                resolve(name)
    shutil.copytree(model, tmp_path / "builtin" / "tiny")
    with pytest.raises(UserError, match=r"built-in name \(tiny\)"):
        resolve("no-such-model")
    with pytest.raises(UserError, match="There is no model"):
        resolve(Path("owner/name"))  # a path is never taken for a Hub id


def test_a_download_goes_through_huggingface_hub(model: Path, places: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(put_in_cache(model, places, name))

    monkeypatch.setitem(sys.modules, "huggingface_hub", ModuleType("huggingface_hub"))
    monkeypatch.setattr(sys.modules["huggingface_hub"], "snapshot_download", snapshot_download, raising=False)
    path = resolve("owner/name")
    assert (path / "config.json").is_file()
    assert resolve("owner/name") == path
    ((name, patterns),) = asked
    assert name == "owner/name"
    assert {"config.json", "*.safetensors", "model.safetensors.index.json", "tokenizer.json"} <= set(patterns)
    assert not any("bin" in pattern for pattern in patterns)


def test_without_a_network_or_huggingface_hub_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(UserError, match=r"owner/name is not built in.*download failed .*; check the name") as caught:
        resolve("owner/name")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"owner/name is not built in.*; run `pip install huggingface_hub`"):
        resolve("owner/name")


def test_builtin_models_of_the_package_are_complete():
    """Every folder that the package ships is whole; named here in full since the fixture hides them."""
    for folder in (Path(catalogue.__file__).parent / "builtin").glob("*"):
        files = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"}
        assert files <= {path.name for path in folder.iterdir()}
