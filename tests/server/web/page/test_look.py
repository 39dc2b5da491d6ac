"""What the page shows of a made past, how it looks, and that it can be used without a mouse."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from .browser import DESK, PHONE, Theme, screenshot, visited
from .conftest import Served

CHECKS = Path(__file__).with_name("checks.js").read_text()
COLOURS_IN_COLUMN = Path(__file__).with_name("drawn.js").read_text()
NUMBERS = Path(__file__).with_name("numbers.js").read_text()
VISIBLE_FOCUS = """(() => {
  const { activeElement: focused } = document;
  return focused.matches(":focus-visible") && getComputedStyle(focused).outlineStyle;
})()"""
NOT_BEHIND = "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"


def test_every_part_tells_the_facts(served: Served, browser: Browser) -> None:
    served.record()
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        expect(page.locator("#run .figure.round .big")).to_have_text("4 of 20")
        # 0.45 − 0.4/3 and 0.6 − 0.5/3, as made_history.agreement has it
        expect(page.locator("#run .figure.valence .big")).to_have_text("0.317")
        expect(page.locator("#run .figure.arousal .big")).to_have_text("0.433")
        expect(page.locator("#run .figure.valence")).to_contain_text("+0.067 from round 2")
        expect(page.locator("#run .figure.valence")).to_contain_text("worst site 0.217, lab-3")
        expect(page.locator(".doing")).to_have_text("Training: waiting for 1 of 3 sites")
        expect(page.locator(".awaited")).to_contain_text("lab-2")
        expect(page).to_have_title("4 of 20 · Mien")

        curves = page.locator("#charts [role=slider]:visible")
        expect(curves).to_have_count(5)  # no ε: no round has one
        told = page.locator("[data-chart=valence] [role=slider]").get_attribute("aria-valuetext")
        assert told == "round 3: pooled 0.317; worst site 0.217, lab-3; spread ±0.040"
        told = page.locator("[data-chart=time] [role=slider]").get_attribute("aria-valuetext")
        assert told is not None
        assert told.startswith(
            "round 3: wait 0.5 s; train 30 s; transfer 9.0 s; aggregate 1.0 s; evaluate 8.0 s"
        )

        expect(page.locator("#sites tbody th")).to_have_text(["lab-1", "lab-2", "lab-3"])
        expect(page.locator("#sites tbody .presence")).to_have_text(["online", "late", "online"])
        # 3000 frames in each of three rounds; made_history gives the first site a GPU
        expect(page.locator("#sites tbody tr").first).to_contain_text("9,000" + "0.317" + "0.433")
        expect(page.locator("#sites tbody tr").first).to_contain_text("cuda" + "0.1.0")
        expect(page.locator("#sites-sum")).to_contain_text("2 online")
        expect(page.locator("#models-rounds tbody tr")).to_have_count(3)
        page.get_by_role("tab", name="Releases").click()
        expect(page.locator("#models-releases tbody tr").first).to_contain_text("1.1.0")
        expect(page.locator("#log-list li").first).to_be_visible()
        assert page.locator("#log-list li[data-kind=promoted]").count() == 2


def test_seconds_since_a_site_was_seen_go_on_by_themselves(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        age = found.page.locator(".awaited time")
        before = age.inner_text()
        expect(age).not_to_have_text(before)
        assert before.endswith(" ago")


def test_an_older_run_is_looked_at_and_as_a_table(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        page.get_by_role("combobox", name="Run that is shown").select_option("2026-11-22-001")
        expect(page.locator("#curves-run")).to_contain_text("12 of 12 rounds")
        expect(page.locator("#models-rounds tbody tr")).to_have_count(12)
        page.get_by_role("button", name="Valence CCC: show as table").click()
        rows = page.locator("[data-chart=valence] tbody tr")
        expect(rows).to_have_count(12)
        expect(rows.first).to_have_text("12" + "0.417" + "0.317 lab-3" + "±0.040")
        assert page.locator("#run .figure.round .big").inner_text() == "4 of 20"  # the run that goes on stays


def test_what_is_not_known_is_a_gap_and_privacy_is_shown_where_it_is_spent(
    served: Served, browser: Browser
) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        expect(page.locator("[data-chart=epsilon]")).to_be_hidden()
        path = "api/v1/runs/2026-11-22-001/rounds?after=0"
        rounds = page.evaluate(f"fetch('{path}').then((answer) => answer.json())")
        for round_ in rounds:
            round_["epsilon"] = round_["round"] / 4
        rounds[3]["valence"] = dict.fromkeys(rounds[3]["valence"])
        rounds[3]["loss"] = dict.fromkeys(rounds[3]["loss"])
        page.route(f"**/{path}", lambda route: route.fulfill(json=rounds))
        page.get_by_role("combobox", name="Run that is shown").select_option("2026-11-22-001")
        expect(page.locator("[data-chart=epsilon] [role=slider]")).to_have_attribute(
            "aria-valuetext", "round 12: ε up to this round 3.00"
        )
        chart = page.locator("[data-chart=valence] [role=slider]")
        chart.focus()
        for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight"):
            page.keyboard.press(key)
        expect(chart).to_have_attribute("aria-valuetext", "round 4: pooled –; worst site –; spread –")
        # The line itself: nothing of its colour is drawn where the fourth round stands.
        drawn = f"({COLOURS_IN_COLUMN})('valence', 12)"
        assert page.evaluate(drawn) == [n != 4 for n in range(1, 13)]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "size"), [("1280", DESK), ("390", PHONE)])
def test_it_fits_and_can_be_read(
    served: Served, browser: Browser, theme: Theme, name: str, size: tuple[int, int]
) -> None:
    served.record()
    with visited(browser, served.base, served.operator, size, theme) as found:
        page = found.page
        page.wait_for_selector("#log-list li")
        page.wait_for_selector("#charts canvas")
        screenshot(page, f"made-{name}-{theme}")
        for width in (size[0], 320, 600, 821, 901, 1081, 1920):
            page.set_viewport_size({"width": width, "height": size[1]})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.set_viewport_size({"width": size[0], "height": size[1]})
        # WCAG 2.2, 1.4.3 and 1.4.11: 4.5 : 1 for text, 3 : 1 for large text and for what is drawn
        assert page.evaluate(f"({CHECKS})().faintText") == []
        assert page.evaluate(f"({CHECKS})().faintColours") == []
        # What a screen reader needs: a name for everything that can be pressed or typed into
        assert page.evaluate(f"({CHECKS})().nameless") == []
        assert page.evaluate(f"({CHECKS})().wrongMarkup") == []


def test_the_theme_can_be_chosen_and_is_kept(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator, theme="light") as found:
        page = found.page
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        light = page.evaluate(ground)
        button = page.get_by_role("button", name="Theme")
        button.click()
        button.click()
        expect(button).to_have_text("Theme: dark")
        dark = page.evaluate(ground)
        assert dark != light
        page.reload()
        page.wait_for_selector("#run .big")
        assert page.evaluate(ground) == dark


def test_all_of_it_by_keyboard_alone(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page, key = found.page, found.page.keyboard
        key.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        assert page.evaluate(VISIBLE_FOCUS) == "solid"
        assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]  # it shows once it has the focus
        key.press("Enter")
        expect(page.locator("#run")).to_be_focused()
        key.press("Tab")
        expect(page.get_by_role("button", name="Stop")).to_be_focused()
        assert page.evaluate(VISIBLE_FOCUS) == "solid"

        key.press("?")
        help_ = page.get_by_role("dialog", name="Keyboard")
        expect(help_).to_contain_text("Start a run")
        for _ in range(
            6
        ):  # round and round within the dialog, or out to the browser, never to the page behind
            key.press("Tab")
            assert page.evaluate(NOT_BEHIND)
        key.press("Escape")
        expect(help_).to_have_count(0)
        expect(page.get_by_role("button", name="Stop")).to_be_focused()

        key.press("2")
        expect(page.locator("#curves")).to_be_focused()
        chart = page.locator("[data-chart=valence] [role=slider]")
        chart.focus()
        key.press("Home")
        expect(chart).to_have_attribute("aria-valuenow", "1")
        key.press("ArrowRight")
        expect(chart).to_have_attribute("aria-valuenow", "2")
        expect(page.locator("[data-chart=valence] .legend")).to_contain_text("pooled 0.250")
        expect(page.locator("[data-chart=bytes] .which")).to_have_text("round 2")  # in all charts at once

        page.get_by_role("tab", name="Of rounds").focus()
        key.press("ArrowRight")
        expect(page.get_by_role("tab", name="Releases")).to_be_focused()
        expect(page.locator("#models-releases")).to_be_visible()
        expect(page.locator("#models-rounds")).to_be_hidden()

        sort = page.locator("#sites").get_by_role("button", name="Frames")
        sort.focus()
        key.press("Enter")
        key.press("Enter")
        expect(page.locator("#sites tbody tr").first).to_contain_text("lab-2")  # lab-3 missed a round
        key.press("/")
        expect(page.locator("#log-text")).to_be_focused()
        key.type("release")
        expect(page.locator("#log-list li")).to_have_count(2)


def test_shortcuts_can_be_switched_off(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        page.get_by_role("button", name="Keyboard shortcuts").click()
        page.get_by_label("Single keys are on").uncheck()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
        page.keyboard.press("n")
        page.keyboard.press("?")
        assert page.locator("dialog").count() == 0


def test_nothing_moves_for_who_asks_for_that(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        pulse = "getComputedStyle(document.querySelector('.pill'), '::before').animationName"
        assert page.evaluate(pulse) == "breathe"
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate(pulse) == "none"


def test_numbers_in_words_and_on_charts(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        said = found.page.evaluate(NUMBERS)
        assert said == {
            "bytes": ["0 B", "999 B", "1.0 kB", "1.0 MB", "1.5 MB", "–"],
            "duration": ["0 s", "59 s", "1 min", "2 min 5 s", "1 h", "3 h 12 min", "1 d 1 h", "–"],
            "ccc": ["0.000", "−0.123", "0.000", "1.000", "–"],
            "number": ["0", "1.00e−5", "0.123", "12.3", "1234", "–"],
            "gap": [[2, 3, 4, 5], [0.5, None, None, 0]],
            "edges": [[1, None, None], [pytest.approx(0.7), None, None]],
            "stacked": [[1, None, None], [3, 3, None]],
            "next": ["1.0.0", "1.1.0", "2.1.0"],
            "settings": {"rounds": 3, "rule": {"name": "fedadam", "tau": 0.1}},
            "fields": ["rule.tau", "quorum", "quorum", None],
        }, json.dumps(said, indent=1, ensure_ascii=False)


@pytest.mark.parametrize(("rounds", "size"), [(100, PHONE), (500, DESK), (500, PHONE)])
def test_the_time_of_many_rounds_is_drawn_too(
    served: Served, browser: Browser, rounds: int, size: tuple[int, int]
) -> None:
    with visited(browser, served.base, served.operator, size) as found:
        page = found.page
        path = "api/v1/runs/2026-11-22-001/rounds?after=0"
        [last] = page.evaluate(f"fetch('{path}').then((answer) => answer.json())")[-1:]
        many = [{**last, "round": number} for number in range(1, rounds + 1)]
        page.route(f"**/{path}", lambda route: route.fulfill(json=many))
        page.get_by_role("combobox", name="Run that is shown").select_option("2026-11-22-001")
        expect(page.locator("[data-chart=time] [role=slider]")).to_have_attribute(
            "aria-valuemax", str(rounds)
        )
        assert all(page.evaluate(f"({COLOURS_IN_COLUMN})('time', {rounds}, 'train')"))


def test_a_long_error_of_a_site_makes_no_tower_of_its_rounds(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        text = "SessionError: " + "the-recording-of-a-session-" * 10
        path = "api/v1/runs/2026-11-23-001/sites?site=lab-3"
        parts = page.evaluate(f"fetch('{path}').then((answer) => answer.json())")
        parts[-1]["error"] = text[:300]
        page.route(f"**/{path}", lambda route: route.fulfill(json=parts))
        page.get_by_role("button", name="lab-3").click()
        row = page.get_by_role("dialog").locator("tbody tr").first
        expect(row).to_contain_text(text[:300])
        box = row.bounding_box()
        assert box is not None
        assert box["height"] < 250
