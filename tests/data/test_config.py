"""Configs: what is shipped loads, mistakes are told with the key, and the digest tells builds apart."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from polyturn.data.config import SHIPPED, Columns, Config, Source, load
from polyturn.data.languages import LANGUAGES
from polyturn.data.licences import PERMISSIVE
from polyturn.utils.errors import UserError

PAIRS = '[[source]]\nkind = "jsonl"\npath = "x"\ncolumns = {prompt = "question", text = "answer"}\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_config_reads_the_running_environment(name: str) -> None:
    config = load(name)
    assert config.data.name == name
    assert [source.kind for source in config.source] == ["installed"]
    assert set(config.data.languages) <= set(LANGUAGES)


def test_the_stages_differ_as_in_the_paper() -> None:
    nl, multi, mono = map(load, ("nl", "multi", "mono"))
    assert nl.source[0].prose
    assert {"C", "C++", "Go", "Java", "JavaScript", "Python"} <= set(multi.data.languages)
    assert multi.pack.language_prefix
    assert mono.data.languages == ("Python",)
    assert not mono.pack.language_prefix
    for config in (multi, mono):  # the paper's rules
        assert (config.filter.mean_line, config.filter.longest_line, config.filter.digits) == (100, 1000, 0.9)


def test_every_key_can_be_set_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        data = {name = "n", languages = ["python", "cpp"], seed = 3, tokenizer = "t"}
        [[source]]
        kind = "jsonl"
        path = "rows"
        columns.text = "content"
        language = "js"
        [[source]]
        kind = "huggingface"
        path = "owner/name"
        name = "hub"
        subset = "s"
        split = "validation"
        [filter]
        mean_line = 50
        comment_ratio = [0, 1]
        licences = []
        optout = "out.txt"
        [dedup]
        near = false
        [decontaminate]
        files = ["held.jsonl"]
        [pack]
        how = "cut"
        row = 128
        [shard]
        validation = 0.1
        """,
    )
    config = load(path)
    assert config.data.languages == ("Python", "C++")
    rows, hub = config.source
    assert rows == Source("jsonl", str(tmp_path / "rows"), "rows", Columns(text="content"), language="JavaScript")
    assert (hub.path, hub.name, hub.subset, hub.split) == ("owner/name", "hub", "s", "validation")
    assert config.filter.mean_line == 50.0
    assert config.filter.licences == ()
    assert config.filter.optout == str(tmp_path / "out.txt")
    assert config.decontaminate.files == (str(tmp_path / "held.jsonl"),)
    assert (config.dedup.near, config.pack.how, config.pack.row, config.shard.validation) == (False, "cut", 128, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[filter]\nmeanline = 3", r"unknown key filter\.meanline.*mean_line, longest_line"),
        ("[filters]\n", r"unknown key filters; known there: data, source, filter"),
        ('[[source]]\nkind = "installed"\ncolumns.txt = "a"', r"unknown key source\.columns\.txt"),
        ("[filter]\ndigits = 2", r"filter\.digits is from 0 to 1"),
        ("[filter]\ndigits = nan", r"filter\.digits is from 0 to 1"),
        ("[filter]\ncomment_ratio = [0.5]", r"filter\.comment_ratio takes a value like \(0\.01, 0\.8\)"),
        ("[filter]\nredact = 1", r"filter\.redact takes a value like True, not 1"),
        ('[pack]\nhow = "tight"', r"pack\.how is one of best-fit, cut"),
        ('[data]\nlanguages = ["Klingon"]', r"data\.languages holds 'Klingon'"),
        ('[[source]]\nkind = "tape"', r"source\.kind is one of installed, folder"),
        ('[[source]]\nkind = "folder"', "kind folder needs a path"),
        ('[[source]]\nkind = "installed"\npath = "x"', "kind installed takes no path"),
        ('[[source]]\nkind = "installed"\n[[source]]\nkind = "installed"', "Two sources are called 'installed'"),
        ('[[source]]\nkind = "folder"\npath = "s3://bucket/code"', "s3://bucket/code is not on one; mount the bucket"),
        ('[[source]]\nkind = "parquet"\npath = "https://example.com/x.parquet"', "not on one; mount"),
        ('[source]\nkind = "installed"', r"write \[\[source\]\] for each"),
        ('[filter]\nlicences = ["MIT", "BSD-3-Claus"]', "did you mean 'BSD-3-Clause'"),
        ('[filter]\nlicences = ["xyzzy"]', "'xyzzy', which is no SPDX id; give"),
        (f'{PAIRS}[pack]\nhow = "cut"', 'pack.how is "cut", which would part answers from their prompts'),
        (PAIRS.replace("jsonl", "folder"), "the source x is of kind folder; remove its columns.prompt"),
        (f"{PAIRS}prose = true", "the source x is for prose; remove its columns.prompt"),
        (PAIRS.replace("answer", "question"), "columns.prompt and columns.text are both 'question'"),
        ("", "names no source"),
        ("[data", "is not TOML"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(written(tmp_path, text))


def test_a_config_that_is_not_there_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="installed, nl, multi, mono"):
        load(tmp_path / "none.toml")


def test_another_source_and_tokenizer_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases = {
        "code": ("folder", str(tmp_path / "code")),
        "a.jsonl.zst": ("jsonl", str(tmp_path / "a.jsonl.zst")),
        "a.parquet": ("parquet", str(tmp_path / "a.parquet")),
        "parquet:many": ("parquet", str(tmp_path / "many")),
        "huggingface:owner/name": ("huggingface", "owner/name"),
        "installed": ("installed", ""),
    }
    for text, (kind, path) in cases.items():
        config = load("nl", source=text, tokenizer="mine")
        assert [(s.kind, s.path, s.prose) for s in config.source] == [(kind, path, True)]
        assert config.data.tokenizer == "mine"


def test_a_config_needs_no_source_where_one_is_given(tmp_path: Path) -> None:
    for text in ("", "source = []\n"):
        config = load(written(tmp_path, f"{text}[pack]\nrow = 64\n"), source=str(tmp_path))
        assert (config.source, config.pack.row) == ((Source("folder", str(tmp_path)),), 64)
    with pytest.raises(UserError, match=r"names no source; add a .* or give --source"):
        load(written(tmp_path, "[pack]\nrow = 64\n"))


@pytest.mark.parametrize(
    "text", ["s3://bucket/code", "parquet:gs://bucket/x.parquet", "hf://datasets/a/b", "file:///x"]
)
def test_a_place_that_is_no_file_system_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not on one; mount the bucket or copy the files"):
        load("mono", source=text)


def test_licences_are_spelled_as_spdx_spells_them(tmp_path: Path) -> None:
    written(
        tmp_path, '[[source]]\nkind="installed"\n[filter]\nlicences=["mit", "gpl-2.0+", "", "other", "LicenseRef-X"]'
    )
    assert load(tmp_path / "mine.toml").filter.licences == ("MIT", "GPL-2.0+", "", "other", "LicenseRef-X")


def test_the_folder_of_a_tokenizer_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tok").mkdir()
    monkeypatch.chdir(tmp_path / "tok")
    for named, found in (
        ("tok", str(tmp_path / "tok")),
        ("./none", str(tmp_path / "none")),
        ("owner/model", "owner/model"),
        ("polyturn-micro-mono", "polyturn-micro-mono"),
    ):
        path = written(tmp_path, f'[data]\ntokenizer = "{named}"\n[[source]]\nkind = "installed"')
        assert load(path).data.tokenizer == found
    assert load("mono", tokenizer=".").data.tokenizer == str(tmp_path / "tok")  # to the working folder


def test_the_digest_does_not_depend_on_where_files_lie(tmp_path: Path) -> None:
    digests = set()
    for name in ("here", "there"):
        folder = tmp_path / name
        (folder / "tok").mkdir(parents=True)
        (folder / "held.txt").write_text("text")
        text = '[data]\ntokenizer = "tok"\n[[source]]\nkind = "folder"\npath = "code"\n'
        config = load(written(folder, text + '[decontaminate]\nfiles = ["held.txt"]\n'))
        assert str(folder) in json.dumps(config.resolved())
        digests.add(config.digest())
    assert len(digests) == 1
    (tmp_path / "there" / "held.txt").write_text("another text")
    assert config.digest() not in digests


def test_the_digest_covers_every_value_and_the_files_named(tmp_path: Path) -> None:
    listed = tmp_path / "out.txt"
    listed.write_text("someone\n")
    path = written(tmp_path, '[[source]]\nkind = "installed"\n[filter]\noptout = "out.txt"')
    config = load(path)
    first = config.digest()
    assert load(path).digest() == first
    assert replace(config, shard=replace(config.shard, megabytes=1)).digest() != first
    listed.write_text("someone\nelse\n")
    assert config.digest() != first
    listed.unlink()
    with pytest.raises(UserError, match=r"out\.txt, which the config names"):
        config.digest()


def test_one_source_with_prompts_marks_the_whole_build(tmp_path: Path) -> None:
    notes = '[[source]]\nkind = "jsonl"\npath = "y"\n'
    assert load(written(tmp_path, notes + PAIRS)).masked
    assert not load(written(tmp_path, notes)).masked


@pytest.mark.parametrize(
    ("text", "parses"),
    [
        ("", True),
        ("[filter]\npython_parses = false\n", False),
        ('[data]\nlanguages = ["Go"]\n', False),
        ('[data]\nlanguages = ["Go", "Python"]\n', True),
        ('[data]\nlanguages = ["Text"]\n[[source]]\nkind = "folder"\npath = "x"\nprose = true\n', True),
    ],
)
def test_whether_python_is_parsed(tmp_path: Path, text: str, parses: bool) -> None:
    assert load(written(tmp_path, text + '[[source]]\nkind = "installed"\n')).parses == parses


def test_resolved_is_plain_json_with_all_that_was_left_to_default() -> None:
    resolved = Config(source=(Source("installed"),)).resolved()
    assert json.loads(json.dumps(resolved)) == resolved
    assert resolved["filter"]["licences"] == list(PERMISSIVE)
    assert resolved["source"][0]["columns"]["text"] == "text"
