"""Reports of made-up results: every number is where it belongs, and each format can be read by others."""

import csv
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from polyturn.analysis.report import Format, report
from polyturn.bench.results import Outcome, Run, summarise, write_results
from polyturn.utils.errors import UserError


def run(rates: Sequence[float], drop: int = 0, **other: Any) -> Run:
    """A run of ten samples a problem, of which the given shares pass; the last `drop` samples are missing."""
    samples = [
        Outcome(f"p{number}", 1, sample, sample < 10 * rate, fair=number > 0, verdict="passed")
        for number, rate in enumerate(rates)
        for sample in range(10)
    ]
    given: dict[str, Any] = {
        "benchmark": "mtpb",
        "model": "micro",
        "mode": "multi",
        "grader": "strict",
        "temperature": 0.2,
        "n": 10,
        "ks": (1, 5, 100),
        "expected": {f"p{number}": 1 for number in range(len(rates))},
        "settings": {"digest": "aaaaaaaaaaaa", "data": "dddd"},
        "baseline": 0.034,
    }
    return summarise(samples[: len(samples) - drop], **(given | other))


LOW, HIGH = [0.2] * 8, [0.5] * 8


def written(folder: Path, *runs: Run) -> Path:
    write_results(folder, runs)
    return folder


def as_json(*folders: Path, with_published: bool = False) -> dict[str, Any]:
    return json.loads(report(folders, "json", with_published))


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """Rows of cells by title, as a Markdown parser sees them."""
    tables: dict[str, list[list[str]]] = {}
    title, kind = "", ""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            tables[title].append([])
        if token.type in ("heading_open", "th_open", "td_open", "paragraph_open"):
            kind = token.type
        if token.type == "inline":
            shown = "".join(part.content for part in token.children or [])
            if kind == "heading_open":
                title = shown
                tables[title] = []
            elif kind in ("th_open", "td_open"):
                tables[title][-1].append(shown)
    return tables


# ---- one run


def test_a_run_is_a_row_in_every_format(tmp_path: Path) -> None:
    folder = written(tmp_path, run(LOW))
    (record,) = as_json(folder)["runs"]
    expected = {"benchmark": "mtpb", "model": "micro", "mode": "multi", "grader": "strict", "temperature": 0.2, "n": 10}
    assert record.items() >= (expected | {"problems": 8, "cases": 8, "pass_rate": 0.2, "fair_pass_rate": 0.2}).items()
    assert record["pass_at"] == {"1": 0.2, "5": pytest.approx(1 - 56 / 252, abs=1e-6)}  # C(8, 5) and C(10, 5)
    low, high = record["ci95"]
    assert 0 <= low < 0.2 < high <= 1
    assert record["partial"] is False

    (row,) = csv.DictReader(StringIO(report([folder], "csv")))
    assert (row["pass_rate"], row["pass_rate_low"], row["pass_rate_high"]) == ("0.2", str(low), str(high))
    assert (row["pass_at_5"], row["baseline"], row["partial"]) == ("0.777778", "0.034", "false")

    shown = f"20.0 [{100 * low:.1f}, {100 * high:.1f}]"
    tables = markdown_tables(report([folder], "markdown"))
    header, cells = tables["mtpb, grader strict: 8 problems"]
    assert dict(zip(header, cells, strict=True)).items() >= {"pass rate": shown, "guess": "3.4", "n": "10"}.items()
    assert shown in report([folder], "table")


def test_a_k_above_n_is_absent_everywhere(tmp_path: Path) -> None:
    folder = written(tmp_path, run(LOW))
    for format in ("table", "markdown", "csv"):
        text = report([folder], format)
        assert "5" in text
        assert "pass@100" not in text
        assert "pass_at_100" not in text


def test_a_k_that_is_absent_is_named_with_the_reason(tmp_path: Path) -> None:
    text = " ".join(report([written(tmp_path, run(LOW, ks=(1, 10, 100)))], "table", width=200).split())
    assert "Not there for k = 100: pass@k takes at least k samples of every case." in text


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_a_partial_run_says_so_in_words(tmp_path: Path, format: Format) -> None:
    text = " ".join(report([written(tmp_path, run(LOW, drop=13))], format).split())
    assert "micro*" in text.replace("\\", "")
    assert "13 of 80 samples of micro, multi at T 0.2, are missing" in text
    assert "over the 7 problems and 7 cases that are there" in text


def test_a_partial_run_says_so_to_programs(tmp_path: Path) -> None:
    folder = written(tmp_path, run(LOW, drop=13))
    (record,) = as_json(folder)["runs"]
    assert (record["partial"], record["missing"], record["problems"]) == (True, 13, 7)
    (row,) = csv.DictReader(StringIO(report([folder], "csv")))
    assert (row["partial"], row["missing"]) == ("true", "13")


@pytest.mark.parametrize("chat", [True, False])
def test_csv_says_yes_and_no_as_json_does(tmp_path: Path, chat: bool) -> None:
    (row,) = csv.DictReader(StringIO(report([written(tmp_path, run(LOW, settings={"chat": chat}))], "csv")))
    assert (json.loads(row["chat"]), json.loads(row["partial"])) == (chat, False)


def test_a_shard_says_so(tmp_path: Path) -> None:
    parts = [run(LOW, drop=40, settings={"shard": f"{number}/2"}) for number in range(2)]
    one, other = (written(tmp_path / f"part{number}", part) for number, part in enumerate(parts))
    whole = written(tmp_path / "whole", run(LOW, settings={"shard": "0/1"}))
    for format in ("table", "markdown"):
        text = " ".join(report([one], format, width=200).split())
        assert text.count("micro is shard 0/2, a part of a run") == 1
        assert "shard" not in report([whole], format, width=200)
    assert [as_json(folder)["runs"][0]["settings"]["shard"] for folder in (one, whole)] == ["0/2", "0/1"]
    (row,) = csv.DictReader(StringIO(report([one], "csv")))
    assert row["shard"] == "0/2"
    with pytest.raises(UserError, match="put shards together with `polyturn bench merge`"):
        report([one, other])


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_table_fits_and_loses_nothing(tmp_path: Path, width: int) -> None:
    name = "my-finetuned-models/checkpoint-of-long-name-12000"
    runs = [run(LOW, model=name), run(HIGH, model=name, mode="single", drop=5), run(HIGH, temperature=0.8)]
    text = report([written(tmp_path, *runs)], "table", with_published=True, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    lines = text.split("mtpb, grader strict: pass@k")[0].splitlines()
    cells = "".join(line.split("  ")[0].strip() for line in lines[3:]).replace(" ", "")
    assert name in cells or name in text


def test_names_are_never_markup(tmp_path: Path) -> None:
    names = ["a|b", "[red]c[/red]", "`d` *e* _f_ <g> [h](http://i)"]
    folder = written(tmp_path, *(run(LOW, model=name) for name in names))
    rows = markdown_tables(report([folder], "markdown"))["mtpb, grader strict: 8 problems"]
    assert sorted(row[0] for row in rows[1:]) == sorted(names)
    table = report([folder], "table", width=200)
    assert all(name in table for name in names)


# ---- several runs


def test_the_best_temperature_of_each_k(tmp_path: Path) -> None:
    # at 0.2 half of the problems always pass: good for k = 1; at 0.8 all pass now and then: good for k = 5
    folder = written(
        tmp_path, run([1.0, 0.0] * 4), run([0.4] * 8, temperature=0.8), run([0.9] * 8, 70, temperature=0.6)
    )
    best = {choice["k"]: choice for choice in as_json(folder)["best_temperature"]}
    assert {k: choice["temperature"] for k, choice in best.items()} == {1: 0.2, 5: 0.8}
    assert best[1]["pass_at"] == 0.5
    assert best[1]["chosen_from"] == [0.2, 0.8]  # the partial run is not chosen from
    header, cells = markdown_tables(report([folder], "markdown"))["mtpb, grader strict: pass@k"]
    assert cells[header.index("pass@1")].startswith("50.0 T 0.2 [")


def test_strict_comes_first_and_modes_in_the_order_of_the_docs(tmp_path: Path) -> None:
    modes = ("oracle", "concat", "single", "multi")
    folder = written(tmp_path, *(run(LOW, mode=mode, grader=g) for mode in modes for g in ("original", "strict")))
    tables = markdown_tables(report([folder], "markdown"))
    rates = [title for title in tables if title.endswith(": 8 problems")]
    assert rates == ["mtpb, grader strict: 8 problems", "mtpb, grader original: 8 problems"]
    assert [row[1] for row in tables[rates[0]][1:]] == ["multi", "single", "concat", "oracle"]
    assert [each["grader"] for each in as_json(folder)["runs"]] == ["strict"] * 4 + ["original"] * 4


def test_a_note_stands_once(tmp_path: Path) -> None:
    folder = written(tmp_path, *(run(LOW, mode=mode, grader=g) for mode in "ab" for g in ("original", "strict")))
    lines = [line for line in report([folder], "table", width=300).splitlines() if line.endswith(".")]
    assert len(lines) == len(set(lines)) == 3


def test_modes_are_compared_with_multi_and_models_with_the_first_given(tmp_path: Path) -> None:
    tuned = written(tmp_path / "tuned", run(HIGH, model="tuned"), run(LOW, model="tuned", temperature=0.9))
    base = written(tmp_path / "base", run([0.4] * 8), run(LOW, mode="concat"), run(LOW, grader="original"))
    found = as_json(base, tuned)["differences"]
    seen = [(d["of"], d["a"]["model"], d["a"]["mode"], d["b"]["model"], d["b"]["mode"], d["difference"]) for d in found]
    assert seen == [
        ("mode", "micro", "multi", "micro", "concat", 0.2),
        ("model", "tuned", "multi", "micro", "multi", 0.1),
    ]
    assert found[1]["problems"] == 8
    assert found[1]["p_value"] == pytest.approx(2 / 2**8, abs=1e-6)  # every problem better
    assert found[1]["ci95"][0] < 0.1 < found[1]["ci95"][1]
    assert as_json(tuned, base)["differences"][-1]["difference"] == -0.1
    tables = markdown_tables(report([base, tuned], "markdown"))
    header, cells = tables["mtpb, grader strict: the model named less micro"]
    assert dict(zip(header, cells, strict=True)).items() >= {"model": "tuned", "p": "0.008", "N": "8"}.items()


def test_runs_on_other_data_are_not_compared(tmp_path: Path) -> None:
    other = run(HIGH, model="tuned", settings={"data": "eeee"})
    folder = written(tmp_path, run(LOW), other)
    assert as_json(folder)["differences"] == []
    assert "mtpb, grader strict, data eeee: 8 problems" in report([folder], "table")


def test_models_of_one_name_are_told_apart_by_digest(tmp_path: Path) -> None:
    other = run(HIGH, settings={"digest": "bbbbbbbbbbbb", "data": "dddd"})
    text = report([written(tmp_path / "a", run(LOW)), written(tmp_path / "b", other)], "table")
    assert "micro@aaaaaaaa " in text
    assert "micro@bbbbbbbb " in text


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one", run(LOW)), written(tmp_path / "two", run(HIGH), run(LOW, mode="single"))
    with pytest.raises(
        UserError, match=r"one and .*two both hold the run mtpb by micro, mode multi .*one of them only"
    ):
        report([one, two], "json")


def test_no_folder_and_damaged_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one folder"):
        report([], "table")
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"results\.json is damaged"):
        report([tmp_path], "table")


def seeded(seed: int, rates: Sequence[float] = LOW, **other: Any) -> Run:
    return run(rates, settings={"digest": "aaaaaaaaaaaa", "data": "dddd", "seed": seed}, **other)


def test_two_seeds_stand_side_by_side(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one", seeded(0)), written(tmp_path / "two", seeded(1, HIGH))
    tables = markdown_tables(report([one, two], "markdown"))
    assert [row[0] for row in tables["mtpb, grader strict: 8 problems"][1:]] == ["micro seed=0", "micro seed=1"]
    (difference,) = as_json(one, two)["differences"]
    assert difference["settings_differ"] == ["seed"]
    text = report([one, two], "table", width=200)
    assert "micro seed=1‡" in text
    assert "‡ micro seed=1 and micro seed=0 at T 0.2 also differ in seed." in text
    rows = list(csv.DictReader(StringIO(report([one, two], "csv"))))
    assert [row["seed"] for row in rows] == ["0", "1"]


def test_models_drawn_with_other_settings_are_compared_with_a_note(tmp_path: Path) -> None:
    base = written(tmp_path / "base", seeded(0))
    tuned, alike = (written(tmp_path / f"tuned{s}", seeded(s, HIGH, model=f"tuned{s}")) for s in (1, 0))
    text = " ".join(report([base, tuned], "table", width=200).split())
    assert "‡ tuned1 and micro at T 0.2 also differ in seed." in text
    assert "‡" not in report([base, alike], "table", width=200)
    assert "seed=" not in text


def test_guesses_of_all_and_of_fair_cases_stand_beside_their_rates(tmp_path: Path) -> None:
    folder = written(tmp_path, run(LOW, baseline=0.25, fair_baseline=0.125))
    header, cells = markdown_tables(report([folder], "markdown"))["mtpb, grader strict: 8 problems"]
    assert header[-4:] == ["pass rate", "guess", "fair", "fair guess"]
    assert (cells[-3], cells[-1]) == ("25.0", "12.5")
    (row,) = csv.DictReader(StringIO(report([folder], "csv")))
    assert (row["baseline"], row["fair_baseline"]) == ("0.25", "0.125")
    assert as_json(folder)["runs"][0]["fair_baseline"] == 0.125


# ---- studies


GROUP = {"problems": 2, "mean": 3.5, "standard_error": 0.5}


def perplexity_of(measured: Run) -> dict[str, Any]:
    which = {"of": measured.fingerprint, "mode": "multi", "temperature": 0.2, "grader": "strict"}
    return {**which, "all": GROUP, "passed": GROUP, "not_passed": GROUP, "by_turns": {"2": GROUP}}


def test_a_study_of_other_samples_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    studied, changed = run(LOW), run(HIGH)
    folder = written(tmp_path, studied)
    (tmp_path / "perplexity.json").write_text(json.dumps({"schema": 1, "runs": [perplexity_of(studied)]}))
    assert "3.5 ± 0.5 (2)" in report([folder], "table", width=200)
    assert as_json(folder)["perplexity"][str(folder)][0]["all"] == GROUP
    written(tmp_path, changed)
    text = " ".join(report([folder], "table", width=200).split())
    assert "3.5 ± 0.5 (2)" not in text
    assert "Left out: multi, studied of other samples or scores" in text
    assert as_json(folder).get("perplexity") is None
    assert as_json(folder)["perplexity_stale"] == {str(folder): ["multi"]}


def test_the_oracle_is_not_studied_and_that_is_said(tmp_path: Path) -> None:
    multi = run(LOW)
    (tmp_path / "perplexity.json").write_text(json.dumps({"schema": 1, "runs": [perplexity_of(multi)]}))
    for runs, said in (((multi,), False), ((multi, run(LOW, mode="oracle")), True)):
        assert ("oracle is not there: its turns" in report([written(tmp_path, *runs)], "table", width=300)) == said


def test_turns_and_what_ended_them_are_told_for_each_mode_and_temperature(tmp_path: Path) -> None:
    turn = {"turn": 1, "written": 4, "alive": 3, "broke": {"name": 1}, "blamed": 1}
    tables = [
        {
            **{
                "mode": mode,
                "temperature": temperature,
                "grader": "strict",
                "outcomes": {"passed": 4},
                "unknown": {"timeout": 2},
            },
            "turns": [{**turn, "ended_by": {rule: {"samples": 4, "passed": 1}}}],
        }
        for mode, temperature, rule in (
            ("multi", 10.0, "length"),
            ("multi", 0.2, "length"),
            ("single", 0.2, "second print"),
            ("given", None, "itself"),
        )
    ]
    (tmp_path / "turns.json").write_text(json.dumps({"schema": 1, "runs": tables}))
    text = report([written(tmp_path, run(LOW))], "markdown")
    found = markdown_tables(text)
    heats = ["0.2", "10.0"]
    assert found["Turn by turn, mode multi"][1:] == [[heat, "1", "4", "75.0", "1", "name 1"] for heat in heats]
    assert found["What ended turns, mode multi"][1:] == [[heat, "length", "4", "25.0"] for heat in heats]
    assert found["What ended turns, mode single"][1:] == [["0.2", "second print", "4", "25.0"]]
    assert found["What ended turns, mode given"][1:] == [["unknown", "itself", "4", "25.0"]]
    assert "a turn that is not known (T 0.2: timeout 2; T 10.0: timeout 2)" in text


def test_a_temperature_that_is_not_known_is_said_in_words(tmp_path: Path) -> None:
    seeds = [run(LOW, drop=1, mode="given", temperature=None, settings={"seed": seed}) for seed in (0, 1)]
    folders = [written(tmp_path / str(seed), each) for seed, each in enumerate(seeds)]
    text = " ".join(report(folders, "table", width=200).split())
    assert "micro seed=0* given unknown 10" in text
    assert "1 of 80 samples of micro seed=0, given, are missing" in text
    assert "‡ micro seed=1 and micro seed=0 also differ in seed." in text
    assert "T –" not in text


# ---- published scores


def test_published_scores_stand_apart(tmp_path: Path) -> None:
    folder = written(tmp_path, run(LOW))
    without, beside = as_json(folder), as_json(folder, with_published=True)
    assert "published" not in without
    assert beside["runs"] == without["runs"]
    assert {row["benchmark"] for row in beside["published"]} == {"mtpb"}
    tables = markdown_tables(report([folder], "markdown", with_published=True))
    rows = tables["mtpb: published by others, not measured here"]
    assert [row[-1] for row in rows[1:]] == ["published, unverified"] * (len(rows) - 1)
    assert ["CodeGen-Mono 350M", "multi", "16.98"] in [row[:3] for row in rows]
    assert len(tables["mtpb, grader strict: 8 problems"]) == 2


def test_published_scores_of_other_problems_say_so(tmp_path: Path) -> None:
    other = written(tmp_path / "other", run(LOW, settings={"errata_version": None}))
    same = written(tmp_path / "same", run(LOW, settings={"errata_version": 1}))
    plus = written(tmp_path / "plus", run(LOW, benchmark="humaneval", mode="single", grader="tests"))  # ids p0, p1, ...
    for folder, fits in ((other, False), (same, True), (plus, False)):
        text = report([folder], "table", with_published=True, width=200)
        assert ("Of other problems than those measured here" in text) != fits
        assert list(as_json(folder, with_published=True)["published_data"].values()) == [fits]


def test_csv_has_runs_only(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose another format"):
        report([written(tmp_path, run(LOW))], "csv", with_published=True)
