"""What can be done on the page: log in, start a run, promote, fetch and compare models, search the log."""

import hashlib
import json

from playwright.sync_api import Browser, Page, expect

from mien_common.published import CARD_FILE, WEIGHTS_FILE

from ...history.made_history import FINISHED, RUNNING
from .browser import keep, visited, was_said
from .conftest import Served


def test_in_with_a_token_and_out_again(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, None) as found:
        page = found.page
        token, error = page.get_by_label("Token"), page.get_by_role("alert")
        expect(token).to_be_focused()
        page.keyboard.press("Enter")
        expect(error).to_have_text("Paste the token here.")
        token.fill("a-wrong-one")
        page.keyboard.press("Enter")
        expect(error).to_contain_text("mien server token")
        token.fill(served.viewer)
        page.keyboard.press("Enter")
        expect(page.locator("#run .figure.round .big")).to_have_text("4 of 20")
        assert page.evaluate("document.cookie") == ""  # no script can read the session
        assert served.viewer not in page.evaluate(
            "JSON.stringify([localStorage, sessionStorage, location.href])"
        )
        page.reload()
        expect(page.locator("#run .figure.round .big")).to_have_text("4 of 20")
        page.get_by_role("button", name="Log out").click()
        expect(token).to_be_focused()
        page.reload()
        expect(token).to_be_visible()


def test_a_viewer_sees_everything_and_no_button_to_change_it(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.viewer) as found:
        page = found.page
        expect(page.locator("#role")).to_have_text("viewer")
        expect(page.locator("#models-rounds tbody tr").first).to_be_visible()
        page.get_by_role("tab", name="Releases").click()
        expect(page.locator("#models-releases tbody tr").first).to_be_visible()
        for words in ("Stop", "Start a run", "Resume", "Promote", "Make latest", "Take out"):
            assert page.get_by_role("button", name=words, include_hidden=True).count() == 0, words
        page.keyboard.press("n")
        assert page.locator("dialog").count() == 0


def test_after_too_many_wrong_tokens_it_says_how_long_to_wait(served: Served, browser: Browser) -> None:
    refusal = {"status": 429, "headers": {"Retry-After": "2"}, "body": json.dumps({"detail": "too many"})}
    with visited(browser, served.base, None) as found:
        page, words = found.page, "Too many wrong tokens. Try again in {} s."
        page.clock.install(time=0)
        page.reload()
        expect(page.get_by_label("Token")).to_be_focused()  # no question is open that could take too long
        page.clock.pause_at(3600)  # a clock that stands cannot run past what is looked for
        page.route("**/api/v1/login", lambda route: route.fulfill(**refusal))
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(words.format(2))
        expect(page.get_by_role("button", name="Log in")).to_be_disabled()
        page.clock.run_for(1000)
        expect(page.get_by_role("alert")).to_have_text(words.format(1))
        expect(page.get_by_role("button", name="Log in")).to_be_disabled()
        page.clock.run_for(1000)
        expect(page.get_by_role("button", name="Log in")).to_be_enabled()
        expect(page.get_by_role("alert")).to_be_hidden()
        assert any("429" in words for words in found.wrong)  # the browser's own line about it
        found.wrong.clear()


def test_a_setting_that_cannot_be_is_told_at_its_field(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        page.get_by_role("button", name="Start a run").click()
        dialog = page.get_by_role("dialog", name="Start a run")
        expect(dialog.get_by_label("Rounds")).to_be_focused()
        page.keyboard.type("0")
        _refused(page, "Rounds", "greater than or equal to 1")
        dialog.get_by_label("Rounds").fill("3")
        dialog.get_by_label("Quorum").fill("9")
        _refused(page, "Quorum", "only 3 sites are enrolled")
        assert dialog.get_by_label("Rounds").get_attribute("aria-invalid") is None
        dialog.get_by_label("Quorum").fill("")
        dialog.get_by_label("Rule").select_option("fedadam")
        dialog.get_by_label("β₁").fill("1")
        _refused(page, "β₁", "rule.beta_1")
        dialog.get_by_label("Rule").select_option("fedavg")
        dialog.get_by_role("button", name="Start").click()
        # There is no SuperLink behind this dashboard: a sentence, and the dialog stays with what was typed.
        expect(dialog.locator("form > .error")).to_be_visible()
        assert dialog.get_by_label("Rounds").input_value() == "3"
        assert all("Failed to load resource" in words for words in found.wrong)
        found.wrong.clear()


def _refused(page: Page, label: str, words: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name="Start").click()
    field = page.get_by_role("dialog").get_by_label(label)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    told = field.get_attribute("aria-describedby")
    assert told is not None
    expect(page.locator(f"#{told.split()[0]}")).to_contain_text(words)


def test_promoted_rolled_back_and_refused(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        page.get_by_role("button", name="Promote round 3 to a release").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("never changed or removed")
        version = dialog.get_by_label("Version")
        expect(version).to_have_value("1.2.0")  # after 1.0.0 and 1.1.0
        version.fill("1.1.0")
        dialog.get_by_role("button", name="Promote").click()
        expect(version).to_have_attribute("aria-invalid", "true")
        expect(dialog.locator("#promote-error")).to_contain_text("1.1.0")
        assert all("Failed to load resource" in words for words in found.wrong)
        found.wrong.clear()
        version.fill("1.2.0")
        keep(page, "#notes", ".note")
        page.keyboard.press("Enter")
        was_said(page, r"^Release 1\.2\.0 was made of round 3\.×$")
        expect(page.get_by_role("row").filter(has_text="release 1.2.0")).to_be_visible()

        page.get_by_role("tab", name="Releases").click()
        releases = page.locator("#models-releases tbody tr")
        expect(releases).to_have_count(3)
        expect(releases.first).to_contain_text("1.2.0latest")
        page.get_by_role("button", name="Make 1.0.0 the latest release").click()
        expect(page.get_by_role("dialog")).to_contain_text("--allow-downgrade")
        page.get_by_role("dialog").get_by_role("button", name="Make 1.0.0 the latest").click()
        expect(releases.last).to_contain_text("1.0.0latest")
        expect(page.locator("#models-releases .tag")).to_have_count(1)


def test_what_is_downloaded_is_what_its_card_says(served: Served, browser: Browser) -> None:
    models = served.made.folder.models / RUNNING / "round-0002"
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        page.get_by_role("button", name="Card of round 2").click()
        dialog = page.get_by_role("dialog")
        said = dialog.locator(".hash code").inner_text()
        assert said == json.loads((models / CARD_FILE).read_text())["sha256"]
        with page.expect_download() as download:
            dialog.get_by_role("link", name=WEIGHTS_FILE).click()
        content = download.value.path().read_bytes()
        assert hashlib.sha256(content).hexdigest() == said
        assert download.value.suggested_filename == f"{RUNNING}-round-0002-{WEIGHTS_FILE}"
        page.keyboard.press("Escape")

        page.get_by_role("tab", name="Releases").click()
        page.get_by_role("button", name="Card and files of release 1.0.0").click()
        with page.expect_download() as download:
            dialog.get_by_role("link", name="model.onnx").click()
        onnx = served.made.folder.releases / "1.0.0" / "model.onnx"
        assert download.value.path().read_bytes() == onnx.read_bytes()


def test_two_are_compared(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        compare = page.get_by_role("button", name="Compare", exact=True)
        page.get_by_role("checkbox", name=f"Compare {RUNNING}/1").check()
        expect(compare).to_be_disabled()
        page.get_by_role("tab", name="Releases").click()
        page.get_by_role("checkbox", name="Compare 1.0.0").check()
        compare.click()
        row = page.get_by_role("dialog").get_by_role("row", name="valence CCC, pooled")
        # 0.45 − 0.4/1 of round 1, 0.45 − 0.4/6 of the release's
        expect(row).to_have_text("valence CCC, pooled" + "0.050" + "0.383" + "+0.333")


def test_the_log_is_searched_at_the_server(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        lines = page.locator("#log-list li")
        page.get_by_label("Kind of event").select_option("dropped")
        expect(lines).to_have_count(1)
        expect(lines).to_contain_text("lab-3")
        page.get_by_label("Site", exact=True).select_option("lab-1")
        expect(page.locator("#log-list .empty")).to_have_text("Nothing like that.")
        page.get_by_label("Site", exact=True).select_option("")
        page.get_by_label("Kind of event").select_option(label="Models: all")
        page.get_by_label("Text in the log").fill("1.1")
        expect(lines).to_have_count(1)
        expect(lines).to_contain_text("1.1.0")


def test_a_site_tells_its_rounds(served: Served, browser: Browser) -> None:
    with visited(browser, served.base, served.operator) as found:
        page = found.page
        page.get_by_role("button", name="lab-3", exact=True).click()
        dialog = page.get_by_role("dialog", name="lab-3")
        expect(dialog.locator("tbody tr")).to_have_count(3)
        expect(dialog.locator("tbody tr").first).to_contain_text(
            "SessionError"
        )  # of round 3, the newest first
        page.keyboard.press("Escape")
        page.get_by_role("combobox", name="Run that is shown").select_option(FINISHED)
        page.get_by_role("button", name="lab-3", exact=True).click()
        expect(dialog.locator("tbody tr")).to_have_count(12)
