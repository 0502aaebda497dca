"""Chromium for the tests of pages, driven by Playwright: each page in a window of its own, what it says is noted."""

import shutil
from pathlib import Path

import pytest

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 30_000  # ms: a machine that many share is slow for a moment

_LAID_OPEN = """
for (const each of document.querySelectorAll("img, canvas")) {
  const isUnderText = each.matches("canvas") || getComputedStyle(each).position === "absolute";
  if (isUnderText) each.parentElement.style.background = "white";
  each.style.visibility = "hidden";
}
for (const box of document.querySelectorAll(".scroll")) {
  if (box.scrollWidth <= box.clientWidth) continue;
  box.closest("section").style.minWidth = "max-content";
  for (const each of [box, ...box.querySelectorAll("*")]) {
    each.style.overflow = "visible";
    each.style.position = "static";
  }
}
"""


@pytest.fixture(scope="module")
def chromium():
    """That of Playwright, else that of the system. A module long: while it runs, asyncio can be used by nobody else."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        file = own if own.exists() else next(filter(None, map(shutil.which, INSTALLED)), None)
        if file is None:
            pytest.skip(
                "no Chromium is installed (.venv/bin/playwright install chromium, or apt install chromium)"
            )
        with playwright.chromium.launch(executable_path=file) as browser:
            yield browser


@pytest.fixture
def visit(chromium):
    """Open pages; afterwards none of them may have complained, or asked for what does not lie beside it."""
    visitor = Visitor(chromium)
    yield visitor
    visitor.leave()
    if visitor.complaints:
        pytest.fail("\n".join(visitor.complaints))


class Visitor:
    """Opens files in a browser, and hears what they say.

    Args:
        browser: of Playwright.
    """

    def __init__(self, browser):
        self.browser = browser
        self.complaints = []
        self.requests = []

    def __call__(self, file, width=1280, height=900, dark=False, script=""):
        """Return a page of Playwright, which remembers nothing of others; a script runs before those of the file."""
        small = width < 600
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            is_mobile=small,
            has_touch=small,
        )
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        own = (f"{file.parent.resolve().as_uri()}/", "blob:")

        def asked(request):
            self.requests.append(request.url)
            if not request.url.startswith(own):
                self.complaints.append(f"asks for {request.url}")

        page.on("request", asked)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.add_init_script(script)
        page.goto(file.resolve().as_uri())
        return page

    def leave(self):
        """Close all windows."""
        for context in self.browser.contexts:
            context.close()


def fits(page):
    """Whether nothing is wider than the window: there is nothing to scroll to at its side."""
    wide = page.evaluate(
        "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth)"
    )
    return wide == page.viewport_size["width"]


def barriers(page):
    """What axe has against a page: names for screen readers, roles, contrast, on pictures as if they were white.

    What it could not decide counts as well, but for text within drawings. Afterwards the page is of no use for more.
    """
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate(_LAID_OPEN)
    options = {
        "resultTypes": ["violations", "incomplete"],
        "checks": {"color-contrast": {"options": {"ignoreUnicode": False}}},
    }
    found = Axe().run(page, options=options).response
    assert len(found["passes"]) > 20
    return [
        f"{rule['id']}: {node['html']}"
        for kind in ("violations", "incomplete")
        for rule in found[kind]
        for node in rule["nodes"]
        if kind == "violations" or not node["html"].startswith("<text")
    ]
