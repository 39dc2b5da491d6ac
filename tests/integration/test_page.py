"""The operator's page over a real federation: from the printed token to a stopped run, in a real browser.

The recordings are invented, with a rule that can be learnt; processes, rounds and models are real. The
pictures in ``docs/images`` come from here:
``MIEN_SCREENSHOTS=docs/images pytest tests/integration/test_page.py``.
"""

import hashlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from mien_client.features import Features
from mien_client.sessions import Session, session_record, write_session
from mien_common.published import read_published
from mien_common.schema import AU_V1
from mien_lab.federation import Federation

from ..server.web.page.browser import PHONE, keep, launched, screenshot, visited, was_said

DESK = (1280, 1112)
SITES = ("lab-1", "lab-2", "lab-3")
ROUND_MS = 120_000
SILENT_MS = 120_000
"""A site that was killed is late after half a minute at most, and offline soon after."""


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """A server and three sites whose recordings have something in common."""
    with Federation(tmp_path / "federation") as made:
        made.create(dict.fromkeys(SITES, 0.0))
        for number, name in enumerate(SITES):
            for part in range(3):
                write_learnable_session(made.site(name), 10 * number + part, held_out=part == 2)
        yield made


def write_learnable_session(site: Path, seed: int, *, held_out: bool) -> None:
    """40 s in which valence follows two channels of a slow walk, and arousal two others."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(size=(1000, len(AU_V1.channels)))
    values = np.zeros_like(steps)
    for frame in range(1, len(steps)):
        values[frame] = 0.97 * values[frame - 1] + 0.24 * steps[frame]
    noise = generator.normal(scale=0.25, size=(len(steps), 2))
    hidden = np.stack([values[:, 8] - values[:, 2], 0.7 * values[:, 12] + 0.7 * values[:, 5]], axis=1)
    ratings = np.tanh(0.6 * hidden + noise).astype(np.float32)
    always = np.ones(len(steps), bool)
    features = Features(
        np.arange(len(steps)) / AU_V1.rate_hz,
        values.astype(np.float32),
        always,
        np.zeros(len(steps), np.uint8),
        np.zeros(len(steps), np.int32),
    )
    record = session_record(
        session_id=f"walk-{seed}",
        features=features,
        rated=True,
        held_out=held_out,
        source=Path("walk"),
        source_sha256=f"{seed:064d}",
        neutral="running",
        features_from="mediapipe",
        confined=True,
    )
    write_session(site / "sessions", Session(record, features, ratings))


def test_an_operator_s_day(federation: Federation) -> None:
    federation.up()
    federation.wait_for("shown only now: ", "server")
    printed = re.search(r"shown only now: (\S+)", federation.log("server").read_text())
    assert printed is not None
    federation.join(SITES)
    base = f"http://127.0.0.1:{federation.dashboard_port}"
    with launched() as browser, visited(browser, base, None, DESK) as found:
        page = found.page
        page.get_by_label("Token").fill(printed[1])
        page.keyboard.press("Enter")
        presences = page.locator("#sites tbody .presence")
        expect(presences).to_have_text(["online"] * 3, timeout=ROUND_MS)
        page.evaluate("window.sameVisit = true")

        start_a_run(page)
        run = watch_rounds_arrive(page)
        kill_a_site(federation, page)
        promote_and_fetch(federation, page, run)

        page.get_by_role("button", name="Stop").click()
        page.get_by_role("dialog").get_by_role("button", name="Stop the run").click()
        expect(page.locator("#run .pill")).to_have_text("Stopped", timeout=ROUND_MS)
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
        assert page.evaluate("window.sameVisit")  # all of it without a reload


def start_a_run(page: Page) -> None:
    page.keyboard.press("n")
    dialog = page.get_by_role("dialog", name="Start a run")
    dialog.get_by_label("Rounds").fill("40")
    dialog.get_by_label("Quorum").fill("3")  # so that it waits for whoever is gone
    dialog.get_by_text("More settings").click()
    dialog.get_by_label("Local epochs").fill("6")
    dialog.get_by_label("Learning rate").fill("0.001")
    page.keyboard.press("Enter")
    expect(page.locator(".note.good")).to_be_visible(timeout=ROUND_MS)


def watch_rounds_arrive(page: Page) -> str:
    """Until there are curves to look at; the run's name."""
    done = page.locator("#run progress")
    chart = page.locator("[data-chart=valence] [role=slider]")
    for round_ in (1, 2, 3, 8):
        expect(chart).to_have_attribute(
            "aria-valuemax", re.compile(rf"^([{round_}-9]|\d\d+)$"), timeout=ROUND_MS
        )
    expect(done).to_have_attribute("max", "40")
    expect(page.locator("#run .figure.valence .big")).to_have_text(re.compile(r"^0\.\d{3}$"))
    expect(page.locator("#models-rounds tbody tr").first).to_contain_text("newest")
    expect(page.locator("#log-list li[data-kind=round]").first).to_be_visible()
    expect(page.locator("#sites tbody tr").first).to_contain_text("cpu")
    return page.locator("#run .run-name").inner_text().partition(" ")[0]


def kill_a_site(federation: Federation, page: Page) -> None:
    # It is late for ten seconds only.
    keep(page, "#sites", ".presence", "data-presences")
    keep(page, "#run", ".awaited li", "data-awaited")
    os.kill(federation.pid("lab-2"), signal.SIGKILL)
    expect(page.locator(".awaited")).to_contain_text("lab-2", timeout=SILENT_MS)
    lab_2 = page.locator("#sites tbody tr", has_text="lab-2").locator(".presence")
    was_said(page, r"late: lab-2\s*last seen \d+ s ago", "data-awaited", SILENT_MS)
    was_said(page, r"online\|late\|online$", "data-presences", SILENT_MS)
    take_pictures(page)
    expect(lab_2).to_have_text("offline", timeout=SILENT_MS)
    expect(page.locator(".doing")).to_contain_text("aiting", timeout=SILENT_MS)
    expect(page.locator("#run")).to_contain_text("lab-2")
    page.get_by_label("Kind of event").select_option("joined,late,left")
    lines = page.locator("#log-list li", has_text="lab-2")
    expect(lines.nth(1)).to_have_attribute("data-kind", "late")
    expect(lines.nth(0)).to_have_attribute("data-kind", "left")


def take_pictures(page: Page) -> None:
    page.evaluate("document.activeElement.blur()")
    page.wait_for_selector(".note", state="detached")
    screenshot(page, "page-light", whole=False)
    page.emulate_media(color_scheme="dark")
    screenshot(page, "page-dark", whole=False)
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    screenshot(page, "page-phone-dark", whole=False)
    page.emulate_media(color_scheme="light")
    screenshot(page, "page-phone", whole=False)
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})


def promote_and_fetch(federation: Federation, page: Page, run: str) -> None:
    page.get_by_role("button", name="Promote round 3 to a release").click()
    expect(page.get_by_role("dialog").get_by_label("Version")).to_have_value("1.0.0")
    page.get_by_role("dialog").get_by_role("button", name="Promote").click()
    expect(page.locator("#models-rounds .tag.release")).to_have_text("release 1.0.0", timeout=ROUND_MS)
    page.get_by_role("tab", name="Releases").click()
    expect(page.locator("#models-releases tbody th")).to_contain_text("1.0.0latest")
    page.get_by_role("tab", name="Of rounds").click()

    page.get_by_role("button", name="Card of round 3").click()
    said = page.get_by_role("dialog").locator(".hash code").inner_text()
    with page.expect_download() as download:
        page.get_by_role("dialog").get_by_role("link", name="model.safetensors").click()
    content = download.value.path().read_bytes()
    card, _ = read_published(federation.server / "models" / run / "round-0003")
    assert hashlib.sha256(content).hexdigest() == said == card.sha256
    page.keyboard.press("Escape")
