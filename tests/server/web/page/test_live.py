"""What happens is seen without a reload, also what happened while the server was away; and shown as text."""

import datetime as dt

from playwright.sync_api import Browser, Page, expect

from mien_server.server_events import record_event

from ...history.made_history import add_round
from .browser import PHONE, keep, visited, was_said
from .conftest import Served, now

HOSTILE = '<img src=x onerror="document.title=1"><script>alert(1)</script>'


def next_round(served: Served, round_: int, error: str = "") -> None:
    """One more round of the run that goes on, taken up by the recorder."""
    failed = {"lab-3": error} if error else {}
    add_round(served.made.folder, served.made.journal, round_, 20, now(), failed, publish=True)
    served.record()


def mark(page: Page) -> None:
    """Whatever is still there afterwards was not loaded anew."""
    page.evaluate("window.sameVisit = true")


def test_rounds_models_and_events_arrive(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        expect(page.locator("#models-rounds tbody tr")).to_have_count(3)
        mark(page)
        next_round(served, 4)
        chart = page.locator("[data-chart=valence] [role=slider]")
        expect(chart).to_have_attribute("aria-valuemax", "4")
        expect(page.locator("#run .figure.valence .big")).to_have_text("0.350")  # 0.45 − 0.4/4
        expect(page.locator("#models-rounds tbody tr")).to_have_count(4)
        expect(page.locator("#models-rounds tbody tr").first).to_contain_text("4newest")
        record_event(served.made.folder, "invited", site="lab-9")
        served.record()
        expect(page.locator("#log-list li").first).to_contain_text("lab-9")
        # Said to a screen reader, once: not with every second that a site is awaited.
        expect(page.locator("#announcements p").last).to_contain_text("Valence 0.350")
        assert page.locator("#announcements p").count() <= 3
        assert page.evaluate("window.sameVisit")


def test_what_was_missed_is_fetched_when_the_server_is_back(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        expect(page.locator("#log-list li").first).to_be_visible()
        mark(page)
        keep(page, "#banners", ".banner.good")
        served.stop()
        expect(page.locator(".banner.bad")).to_contain_text("Connection lost")
        next_round(served, 5)
        next_round(served, 6)
        served.start()
        was_said(page, r"^Connected again\.")
        served.record()  # after half a minute, on a busy machine, its lag would be said
        expect(page.locator("[data-chart=valence] [role=slider]")).to_have_attribute("aria-valuemax", "6")
        page.get_by_label("Kind of event").select_option("round")
        for round_ in (5, 6):
            expect(page.locator("#log-list li", has_text=f"round {round_}").first).to_be_visible()
        expect(page.locator(".banner")).to_have_count(0)
        assert page.evaluate("window.sameVisit")
        assert all("ERR_" in words or "Failed to load resource" in words for words in found.wrong)
        found.wrong.clear()


def test_the_session_ends_at_the_server_and_the_page_asks_again(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.viewer) as found:
        page = found.page
        expect(page.locator("#log-list li").first).to_be_visible()
        left = page.context.request.post(f"{served.base}/api/v1/logout", data={})  # in another tab, say
        assert left.ok
        expect(page.get_by_label("Token")).to_be_focused()
        assert all("401" in words for words in found.wrong)
        found.wrong.clear()


def test_what_others_wrote_is_text(served: Served, browser: Browser) -> None:
    next_round(served, 7, error=HOSTILE)
    for size in (None, PHONE):
        with visited(browser, served.base, served.operator, size or (1280, 800)) as found:
            page = found.page
            error = page.locator("#sites .site-error")
            expect(error).to_be_visible()
            assert "<img src=x" in error.inner_text()
            expect(page.locator("#log-list li[data-kind=dropped]").first).to_contain_text("<script>")
            page.get_by_role("button", name="lab-3", exact=True).click()
            expect(page.get_by_role("dialog").locator("tbody tr").first).to_contain_text("<script>")
            assert page.locator("img[src=x], main script").count() == 0
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.title() != "1"


def test_a_history_that_lags_is_said(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        status = page.evaluate("fetch('api/v1/status').then((answer) => answer.json())")
        assert status["server"]["behind_s"] is not None
        ends = (now() + dt.timedelta(days=9)).isoformat()
        status["server"] |= {"behind_s": 200.0, "certificate_ends": ends}
        page.route("**/api/v1/status", lambda route: route.fulfill(json=status))
        page.route("**/api/v1/stream", lambda route: route.abort())
        page.reload()
        expect(page.locator(".banner.watch")).to_have_count(2)
        expect(page.locator("#banners")).to_contain_text("The history is 3 min 20 s behind")
        expect(page.locator("#banners")).to_contain_text("mien server init DIR --renew")
        found.wrong.clear()  # the stream that we took away


def test_a_history_that_is_away_is_no_lost_connection(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        status = page.evaluate("fetch('api/v1/status').then((answer) => answer.json())")
        status["server"]["behind_s"] = None
        away = {"status": 503, "json": {"detail": "the history cannot be read now"}}
        page.route("**/api/v1/status", lambda route: route.fulfill(json=status))
        page.route("**/api/v1/runs?*", lambda route: route.fulfill(**away))
        page.route("**/api/v1/events?*", lambda route: route.fulfill(**away))
        page.reload()
        asked = [page.wait_for_event("response", lambda answer: answer.status == 503) for _ in range(4)]
        assert asked  # again and again
        expect(page.locator("#run .figure.round .big")).to_contain_text("of 20")
        expect(page.locator(".banner.bad")).to_have_count(0)
        expect(page.locator("#log .empty")).to_be_hidden()  # "Nothing yet" would be wrong
        page.unroute_all()
        expect(page.locator("#log-list li").first).to_be_visible()  # it came back by itself
        expect(page.locator("[data-chart=valence] [role=slider]")).to_be_visible()
        assert all("503" in words for words in found.wrong)
        found.wrong.clear()
