"""Published scores: rates, marked by whether they were read where they are said to be from."""

from polyturn.analysis.published import protocol, published


def test_rows_are_rates_and_name_their_source() -> None:
    rows = published(["humaneval", "mtpb"])
    for row in rows:
        rates = [*row.pass_at.values(), *([] if row.pass_rate is None else [row.pass_rate])]
        assert rates
        assert all(0 < rate < 1 for rate in rates)
        assert list(row.pass_at.values()) == sorted(row.pass_at.values())  # more samples, more passes
        assert row.source
        assert row.verified != ("not checked" in row.source)
        assert protocol(row.benchmark)
    assert len({(row.benchmark, row.name, row.mode) for row in rows}) == len(rows)


def test_only_the_benchmarks_asked_for() -> None:
    assert {row.benchmark for row in published(["humaneval", "curriculum"])} == {"humaneval"}
    assert published(["curriculum"]) == []


def test_larger_models_of_a_family_score_more() -> None:
    """As the CodeGen paper says; a figure in a wrong row would show. MTPB's Multi and NL models are not monotone."""
    for family in ("CodeGen-NL", "CodeGen-Multi", "CodeGen-Mono"):
        rows = [row for row in published(["humaneval"]) if row.model == family]
        assert [row.size for row in rows] == ["350M", "2.7B", "6.1B", "16.1B"]
        for k in ("1", "10", "100"):
            scores = [row.pass_at[k] for row in rows]
            assert scores == sorted(scores)
    mono = {row.pass_at["100"]: row for row in published(["humaneval"]) if row.name == "CodeGen-Mono 16.1B"}
    assert [(rate, row.verified) for rate, row in mono.items()] == [(0.75, True)]
