"""A real browser looks at a page: Chromium from the system, driven by Playwright, everything that goes wrong noted.

`python -m tests.browser PAGE.html OUT.png [dark] [phone] [HEIGHT] [#PART]` keeps a picture of a page's first HEIGHT
pixels, or of one part of it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DESKTOP, PHONE = (1360, 900), (390, 844)


def find() -> str | None:
    """Return the browser's path: `TOCSIN_BROWSER`, else Chromium or Chrome on PATH."""
    return os.environ.get("TOCSIN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start the browser, and end it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def look(
    browser: Browser, path: Path, *, size: tuple[int, int] = DESKTOP, dark: bool = False, scripts: bool = True
) -> Iterator[tuple[Page, list[str]]]:
    """Open a page; beside it comes a list of all that goes wrong: errors, and whatever is asked of any network."""
    wrong: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            wrong.append(f"console {message.type}: {message.text}")

    def asked(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")) and request.url != path.resolve().as_uri():
            wrong.append(f"request: {request.url}")

    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
    )
    try:
        page = context.new_page()
        page.on("console", said)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", asked)
        page.goto(path.resolve().as_uri())
        yield page, wrong
    finally:
        context.close()


def draw(page: Page, which: str = ".plot", *, unfold: bool = True) -> None:
    """Wait until every plot of a selector is drawn, wherever it stands, all that is folded being unfolded."""
    page.evaluate(
        """async ([which, unfold]) => {
            if (unfold) for (const one of document.querySelectorAll("details")) one.open = true;
            for (const plot of document.querySelectorAll(which)) {
                if (!plot.checkVisibility()) continue;
                plot.scrollIntoView({ behavior: "instant" });
                for (let waited = 0; !plot.dataset.drawn; waited += 20) {
                    if (waited > 30_000) throw new Error(`${plot.id} is not drawn after 30 s`);
                    await new Promise((done) => setTimeout(done, 20));
                }
            }
            scrollTo({ top: 0, behavior: "instant" });
        }""",
        [which, unfold],
    )


def shoot(
    path: Path, out: Path, *, size: tuple[int, int] = DESKTOP, dark: bool = False, height: int = 0, part: str = ""
) -> None:
    """Keep a picture of a page, of its first ``height`` pixels where given, or of what the selector ``part`` names."""
    with launched() as browser, look(browser, path, size=size, dark=dark) as (page, wrong):
        draw(page, unfold=False)
        page.wait_for_timeout(300)
        clip = {"x": 0, "y": 0, "width": size[0], "height": height} if height else None
        if part:
            page.locator(part).screenshot(path=out)
        else:
            page.screenshot(path=out, full_page=True, clip=clip)  # type: ignore[arg-type]
        # A palette of 256 is a third of the bytes, and nobody sees it.
        Image.open(out).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)
        print(f"{out}: {out.stat().st_size / 1e3:.0f} kB", *wrong, sep="\n")


if __name__ == "__main__":
    words = sys.argv[3:]
    shoot(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        size=PHONE if "phone" in words else DESKTOP,
        dark="dark" in words,
        height=next((int(word) for word in words if word.isdigit()), 0),
        part=next((word for word in words if word.startswith("#")), ""),
    )
