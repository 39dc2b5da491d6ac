"""Tables: the numbers are the statistics', bold is earned, and LaTeX sets what was meant."""

import re
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien_common.schema import TARGETS
from mien_lab.experiments.captions import about
from mien_lab.experiments.config import Config, CorpusChoice, Split
from mien_lab.experiments.latex import escaped
from mien_lab.experiments.outcome import Outcome
from mien_lab.experiments.paired_tests import PairedTest, paired_tests, surely_best
from mien_lab.experiments.scores import contenders, groups_of_recordings, score_runs
from mien_lab.experiments.statistics import Summary, summarise
from mien_lab.experiments.tables import Table, ccc_table, latex, markdown, number, paired_table

from .made_outcomes import made_config, made_outcomes


def _made(config: Config, outcomes: Sequence[Outcome]) -> tuple[tuple[Summary, ...], tuple[PairedTest, ...]]:
    runs = score_runs(config, outcomes)
    everyone = contenders(runs)
    return summarise(everyone, groups_of_recordings(runs)), paired_tests(everyone)


def _table(config: Config, outcomes: Sequence[Outcome], note: str = "", partial: str | None = None) -> Table:
    return ccc_table(config, *_made(config, outcomes), note, partial)


SURE = made_config(methods=("federated", "centralised"))
SURE_OUTCOMES = made_outcomes(SURE, persons=9, noise={"federated": 3.0, "centralised": 0.3})


def test_a_row_holds_mean_spread_interval_and_worst_site_of_each_target() -> None:
    summaries, _ = _made(SURE, SURE_OUTCOMES)
    lines = markdown(_table(SURE, SURE_OUTCOMES)).splitlines()
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert cells[:3] == ["GRU", "federated", "9"]
    for column, target in enumerate(TARGETS):
        for place, rule in enumerate(("mean_over_recordings", "pooled")):
            found = summaries[0].estimates[rule, target]  # type: ignore[index]
            numbers = [float(text) for text in re.findall(r"\d\.\d+", cells[3 + 3 * column + place])]
            assert numbers == pytest.approx(
                [found.mean, found.sd, found.interval.low, found.interval.high], abs=5.1e-4
            )
        worst = summaries[0].worst[target]
        assert cells[5 + 3 * column] == f"{number(worst.ccc)} ({worst.group})"


def test_only_the_sure_best_is_bold_and_only_by_the_rule_that_is_tested() -> None:
    table = _table(SURE, SURE_OUTCOMES)
    bold = [(row[1].text, place) for row in table.rows for place, cell in enumerate(row) if cell.bold]
    assert bold == [("centralised", 3), ("centralised", 6)]
    assert "**0." in markdown(table)
    assert r"\textbf{\boldmath 0." in latex(table)
    alike = made_config(methods=("centralised", "federated"))
    outcomes = made_outcomes(alike, persons=6)
    summaries, tests = _made(alike, outcomes)
    assert surely_best(summaries, tests, "valence") is None
    assert not any(cell.bold for row in _table(alike, outcomes).rows for cell in row)


def test_the_caption_says_whose_data_how_split_which_seeds_and_what_computed_it() -> None:
    caption = " ".join(_table(SURE, SURE_OUTCOMES, note="Seed 7; 9 people").caption)
    for part in (
        "SYNTHETIC DATA", "Seed 7; 9 people.", "avec", "leave one participant out", "Lag: 0 s, fixed",
        "Seeds: 1, 2, 3.", "mien ", "torch ", "standard deviation over seeds",
        "bootstrap interval over people",
    ):  # fmt: skip
        assert part in caption
    assert "PARTIAL" not in caption
    real = SURE.model_copy(update={"corpus": CorpusChoice(kind="recola")})
    assert "SYNTHETIC" not in " ".join(_table(real, SURE_OUTCOMES).caption)
    partial = " ".join(_table(SURE, SURE_OUTCOMES[:3], partial="3 of 54 runs").caption)
    assert "PARTIAL RESULTS: 3 of 54 runs." in partial


def test_what_is_unknown_is_a_dash_and_of_how_many_it_is_known_stands_beside() -> None:
    config = made_config(seeds=(1,))
    outcomes = made_outcomes(config, persons=2, constant=(0, 1))
    table = _table(config, outcomes)
    assert [cell.text for cell in table.rows[0][2:6]] == ["2", "–", "–", "–"]
    assert table.rows[0][2].below == "(CCC: 0, 2)"
    assert "±" not in table.rows[0][6].text
    assert "One seed, so no spread over seeds" in " ".join(table.caption)


def test_tests_are_told_with_pairs_effect_and_both_adjusted_p_values() -> None:
    summaries, tests = _made(SURE, SURE_OUTCOMES)
    table = paired_table(SURE, summaries, tests, "", None)
    assert [cell.text for cell in table.rows[0][:4]] == ["valence", "federated", "centralised", "9"]
    assert table.rows[0][8].bold
    few = made_config(seeds=(1,))
    summaries, tests = _made(few, made_outcomes(few, persons=3))
    table = paired_table(few, summaries, tests, "", None)
    assert [cell.text for cell in table.rows[0][7:]] == ["–"] * 4
    assert "no test, 3 persons; a test needs 6." in " ".join(table.caption)


@pytest.mark.parametrize("methods", [("federated",), tuple(f"method {index}" for index in range(12))])
def test_latex_has_as_many_cells_in_each_row_as_columns_and_closes_what_it_opens(
    methods: tuple[str, ...],
) -> None:
    config = made_config(models=("GRU_64", "100%"[:3]), methods=methods, seeds=(1,))
    summaries, tests = _made(config, made_outcomes(config, persons=2, points=60))
    for table in (
        ccc_table(config, summaries, tests, "50 % & {more} of C:\\data_1 ~ #2 $x^2$", None),
        paired_table(config, summaries, tests, "", None),
    ):
        text = latex(table)
        plain = re.sub(r"\\[{}%&#_$]", "", text)
        assert plain.count("{") == plain.count("}")
        assert plain.count("$") % 2 == 0
        columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
        assert columns is not None
        body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
        for line in body.splitlines()[1:]:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1
        assert [*re.findall(r"\\(?:begin|end)\{[a-z*]+\}", text)] == [
            r"\begin{table*}", r"\begin{tabular}", r"\end{tabular}", r"\end{table*}",
        ]  # fmt: skip


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_escaped_text_means_itself(text: str) -> None:
    read = escaped(text)
    for command, sign in (
        (r"\textbackslash{}", "\0"), (r"\textasciicircum{}", "^"), (r"\textasciitilde{}", "~"),
        (r"\textless{}", "<"), (r"\textgreater{}", ">"), (r"\textbar{}", "|"), ("''", '"'),
    ):  # fmt: skip
        read = read.replace(command, sign)
    read = re.sub(r"\\([{}$&#%_])", r"\1", read).replace("\0", "\\")
    assert read == " ".join(text.split()).replace("''", '"')


def test_signs_that_latex_lacks_are_never_sent_to_it() -> None:
    assert escaped("AU→affect, ε ≤ 2, ±3, Mašek, Łęcka, 表情") == (
        r"AU$\rightarrow$affect, $\varepsilon$ $\leq$ 2, $\pm$3, Mašek, Łecka, ??"
    )


def test_markdown_shows_names_as_they_are() -> None:
    config = made_config(methods=("a_b_c",), seeds=(1,))
    text = markdown(_table(config, made_outcomes(config, persons=1), note="a|b *c* <d>"))
    assert r"a\_b\_c" in text
    assert r"a\|b \*c\* \<d>" in text


@pytest.mark.parametrize(
    ("scaling", "split", "said"),
    [
        ("participant", "leave-one-out", "transductive: no rating is used"),
        ("participant", "sessions", "by that person's own training recordings"),
        ("training", "leave-one-out", "by training people's, a test person's too"),
    ],
)
def test_a_caption_says_whose_features_standardised_a_test_person(
    scaling: Literal["participant", "training"], split: Literal["leave-one-out", "sessions"], said: str
) -> None:
    config = made_config().model_copy(update={"scaling": scaling, "split": Split(kind=split)})
    assert any(said in sentence for sentence in about(config, "", None))


def test_a_caption_says_how_was_trained_and_what_became_of_predictions() -> None:
    config = made_config()
    training = config.training.model_copy(update={"mse_share": 0.25, "local_epochs": 1, "optimiser": "sgd"})
    ratings = config.ratings.model_copy(update={"smoothing_s": 2.0, "centre": True, "scale": True})
    changed = config.model_copy(
        update={"training": training, "ratings": ratings, "rounds": 40, "patience": 5}
    )
    assert "Predictions" not in " ".join(about(config, "", None))
    caption = " ".join(about(changed, "", None))
    for part in (
        "up to 40 rounds of 1 epoch ", "the round chosen on the last 20% of training recordings",
        "sgd at 0.003, loss 1 − CCC with a share of 0.25 of mean squared error.",
        "Predictions: a moving average over 2 s, centred and scaled as fitted to training people.",
    ):  # fmt: skip
        assert part in caption
