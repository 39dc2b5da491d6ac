"""The system's Chromium for tests of the page, and what must never happen in it.

Enters: addresses on loopback. Leaves: pages that wrote down every error, every breach of the content policy
and every request to another host.
"""

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESK: Final = (1280, 800)
PHONE: Final = (390, 844)
PATIENCE_MS: Final = 60_000
"""Long: the machine does other things too, and only a failure waits so long."""

Theme = Literal["light", "dark"]

_KEEP: Final = """([part, words, kept]) => {
  const watched = document.querySelector(part);
  new MutationObserver(() => {
    const now = [...watched.querySelectorAll(words)].map((node) => node.textContent).join("|");
    document.body.setAttribute(kept, `${document.body.getAttribute(kept) ?? ""}\\n${now}`);
  }).observe(watched, { subtree: true, childList: true, characterData: true });
}"""
_NOT_LOGGED_IN: Final = "the server responded with a status of 401"
_TELL_BREACHES: Final = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI}`);
});
"""


def chromium() -> str:
    """Where it is; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser without a window. Its sandbox is left on, but for root, whom Chromium refuses it."""
    expect.set_options(timeout=PATIENCE_MS)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=arguments, timeout=2 * PATIENCE_MS
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, and what went wrong in it."""

    page: Page
    base: str
    wrong: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Nothing went wrong, and nobody else was asked for anything."""
        assert not self.wrong
        assert not self.strangers

    def console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and _NOT_LOGGED_IN not in message.text:
            self.wrong.append(message.text)

    def request(self, url: str) -> None:
        if not url.startswith((f"{self.base}/", "data:", "blob:")):
            self.strangers.append(url)


@contextmanager
def visited(
    browser: Browser, base: str, token: str | None, size: tuple[int, int] = DESK, theme: Theme = "light"
) -> Iterator[Watched]:
    """The page at ``base``, logged in where there is a token; checked as it is left."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=theme, accept_downloads=True
    )
    try:
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(_TELL_BREACHES)
        if token is not None:
            _log_in(context, base, token)
        found = Watched(context.new_page(), base)
        found.page.on("console", found.console)
        found.page.on("pageerror", lambda error: found.wrong.append(str(error)))
        found.page.on("request", lambda request: found.request(request.url))
        found.page.goto(f"{base}/")
        if token is not None:
            found.page.wait_for_selector("#run .big")
        yield found
        found.check()
    finally:
        context.close()


def _log_in(context: BrowserContext, base: str, token: str) -> None:
    answer = context.request.post(f"{base}/api/v1/login", data={"token": token})
    assert answer.ok, answer.text()


def keep(page: Page, part: str, words: str, kept: str = "data-kept") -> None:
    """Remember from now on what ``words`` within ``part`` say, whenever that changes, for :func:`was_said`.

    What is only there for some seconds could otherwise come and go between two looks of a busy machine.
    """
    page.evaluate(_KEEP, [part, words, kept])


def was_said(page: Page, pattern: str, kept: str = "data-kept", patience_ms: int = PATIENCE_MS) -> None:
    """Wait until they said this, if they have not already: in a line, with ``|`` between one and the next."""
    expect(page.locator("body")).to_have_attribute(
        kept, re.compile(pattern, re.MULTILINE), timeout=patience_ms
    )


def screenshot(page: Page, name: str, whole: bool = True) -> Path:
    """Keep a picture where ``MIEN_SCREENSHOTS`` says, else among temporary files."""
    folder = Path(os.environ.get("MIEN_SCREENSHOTS") or Path(tempfile.gettempdir()) / "mien-screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    with Image.open(io.BytesIO(page.screenshot(full_page=whole))) as taken:
        taken.convert("RGB").save(path, optimize=True)  # these go into the documentation, too
    return path
