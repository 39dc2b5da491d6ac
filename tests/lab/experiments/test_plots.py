"""Plots: every one is drawn for many and few, shows what it should, and leaves nothing behind."""

import io
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from mien_lab.experiments.plot_curves import curve, curves_figure
from mien_lab.experiments.plot_look import MOST_ON_A_PAGE, look, pages, rendered, shortened, wrapped
from mien_lab.experiments.plot_people import by_method_figure, by_person_figure
from mien_lab.experiments.plot_plane import plane_figure
from mien_lab.experiments.plot_traces import traces_figure
from mien_lab.experiments.results import write_report
from mien_lab.experiments.scores import Contender, contenders, groups_of_recordings, score_runs
from mien_lab.experiments.statistics import summarise

from .made_outcomes import made_config, made_outcomes


def _contenders(persons: int, methods: int, points: int = 400) -> tuple[Contender, ...]:
    config = made_config(methods=[f"method {index}" for index in range(methods)], seeds=(1, 2))
    return contenders(score_runs(config, made_outcomes(config, persons=persons, points=points)))


def test_a_report_has_every_plot_as_png_and_pdf_and_links_every_file(tmp_path: Path) -> None:
    config = made_config(methods=("federated",), seeds=(1,))
    outcomes = made_outcomes(config, persons=2, points=40)
    plots = tmp_path / "plots"
    plots.mkdir()
    stale, mine = plots / "traces-02-GRU-centralised.png", plots / "mine.png"
    stale.touch()
    mine.touch()
    report = write_report(tmp_path, config, outcomes, "made for a test", final=True)
    names = {file.name for file in plots.iterdir()}
    for kind in ("ccc-by-method", "ccc-by-person", "learning-curves", "plane", "traces-01-GRU-federated"):
        assert (plots / f"{kind}.pdf").read_bytes().startswith(b"%PDF")
        with Image.open(plots / f"{kind}.png") as image:
            assert image.width == 1559  # 180 mm at 220 dots an inch
    assert len(names) == 10 + 1
    summary = (tmp_path / "summary.md").read_text()
    assert all(file.is_file() for file in report.files)
    assert all(
        str(file.relative_to(tmp_path)) in summary for file in report.files[1:] if file.suffix != ".pdf"
    )
    assert "SYNTHETIC DATA" in summary
    assert "PARTIAL" not in summary
    # What an earlier, larger comparison left is gone; what is nobody's of ours stays.
    assert not stale.exists()
    assert mine.exists()


def test_partial_results_are_called_so_and_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = made_config()
    outcomes = made_outcomes(config, persons=2, points=40)[:5]
    report = write_report(tmp_path, config, outcomes, "", final=False)
    assert not (tmp_path / "plots").exists()
    for name in ("summary.md", "table.md", "table.tex", "tests.md"):
        assert "PARTIAL RESULTS: 5 runs so far" in (tmp_path / name).read_text()
    assert len(report.rows) == 1
    monkeypatch.setattr("mien_lab.experiments.report.draw_all", lambda *_: ())
    holes = write_report(tmp_path, config, outcomes[:4], "", final=True)
    assert "PARTIAL RESULTS: 4 of 12 runs" in holes.files[0].read_text()


def test_nothing_at_all_is_an_empty_report(tmp_path: Path) -> None:
    report = write_report(tmp_path, made_config(), (), "", final=False)
    assert report.rows == ()
    assert (tmp_path / "runs.csv").read_text().count("\n") == 1


def test_traces_have_gaps_where_nothing_counts_and_show_best_median_and_worst() -> None:
    contender = _contenders(5, 1)[0]
    scores = contender.ccc_sums[:, 0].mean(axis=1)
    with look():
        figure = traces_figure(contender)
    assert len(figure.axes) == 6
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    for title, place in zip(titles[::2], (-1, 2, 0), strict=True):
        person = contender.persons[np.argsort(scores)[place]]
        assert title.startswith(f"valence of {person} (")
    gold, prediction = figure.axes[0].lines[1:]
    drawn = np.isfinite(np.asarray(prediction.get_ydata(), float))
    assert np.array_equal(drawn, np.isfinite(np.asarray(gold.get_ydata(), float)))
    assert np.array_equal(drawn, contender.runs[0].recordings[0].scored.counts)
    assert figure.axes[4].get_xlabel() == "time (s)"


@pytest.mark.parametrize(("persons", "methods"), [(1, 1), (4, 8), (18, 2)])
def test_no_label_lies_on_another_nor_outside(persons: int, methods: int) -> None:
    config = made_config(
        models=("bidirectional GRU with residual blocks and input norm",),
        methods=[
            f"federated with FedAdam and fine-tuning, variant {index}".replace(",", "")
            for index in range(methods)
        ],
        seeds=(1,),
    )
    runs = score_runs(config, made_outcomes(config, persons=persons, points=60))
    everyone = contenders(runs)
    summaries = {
        (one.contender.model, one.contender.method): one
        for one in summarise(everyone, groups_of_recordings(runs))
    }
    (page,) = pages(everyone)
    with look():
        for figure in (by_method_figure(page, summaries), by_person_figure(page), curves_figure(page)):
            rendered(figure, "png")
            for axis in figure.axes:
                boxes = [label.get_window_extent() for label in axis.get_yticklabels() if label.get_text()]
                boxes.sort(key=lambda box: box.y0)
                assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
            everything = figure.get_tightbbox()
            assert everything.x0 >= -0.01
            assert everything.x1 <= figure.get_size_inches()[0] + 0.01
            assert everything.y0 >= -0.01
            assert everything.y1 <= figure.get_size_inches()[1] + 0.01


def test_more_methods_than_colours_are_spread_over_pages() -> None:
    everyone = _contenders(1, 19, points=10)
    found = pages(everyone)
    assert [len(page.shown) for page in found] == [8, 8, 3]
    assert all(len({shown.colour for shown in page.shown}) == len(page.shown) for page in found)
    config = made_config(models=("A", "B", "C"), methods=("x", "y", "z"), seeds=(1,))
    by_model = pages(contenders(score_runs(config, made_outcomes(config, persons=1, points=10))))
    assert [(page.name, page.title, len(page.shown)) for page in by_model] == [
        ("A", "A", 3), ("B", "B", 3), ("C", "C", 3),
    ]  # fmt: skip
    assert MOST_ON_A_PAGE == 8


def test_a_curve_is_mean_and_spread_over_runs_while_half_of_them_still_train() -> None:
    contender = _contenders(3, 1, points=10)[0]
    losses = np.array([[point.loss for point in run.outcome.rounds] for run in contender.runs])
    rounds, mean, spread = curve(contender)
    assert rounds.tolist() == list(range(1, 16))
    np.testing.assert_allclose(mean[:, 0], losses.mean(axis=0))
    np.testing.assert_allclose(spread[:, 0], losses.std(axis=0, ddof=1))
    short = Contender(**{**vars(contender), "runs": contender.runs[:1]})
    assert np.all(curve(short)[2] == 0)


def test_undefined_everywhere_is_drawn_as_such_and_the_same_again() -> None:
    everyone = _contenders(2, 2, points=1)
    (page,) = pages(everyone)
    with look():
        pictures = [rendered(figure, "png") for figure in (by_person_figure(page), plane_figure(page))]
        pictures.append(rendered(traces_figure(everyone[0]), "png"))
        assert rendered(by_person_figure(page), "png") == pictures[0]
    assert all(Image.open(io.BytesIO(picture)).width == 1559 for picture in pictures)


def test_drawing_leaves_no_setting_behind() -> None:
    before = dict(matplotlib.rcParams)
    with look():
        by_person_figure(pages(_contenders(1, 1, points=10))[0])
    assert dict(matplotlib.rcParams) == before


def test_a_long_name_keeps_both_ends() -> None:
    assert shortened("federated with head 1", 40) == "federated with head 1"
    short = shortened("federated averaging with local head, variant 17", 20)
    assert len(short) <= 20
    assert short.startswith("federated")
    assert short.endswith("17")
    assert all(len(line) <= 20 for line in wrapped("word " * 40, 20).splitlines())
