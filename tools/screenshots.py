"""Write docs/screenshots/*.png of a running website: every page at 1440 and 390, light and dark.

    python tools/screenshots.py URL --session COOKIE [--only tower] [--widths 1440,390] [--out DIR]

The pages of one feed, one group and one dataset are found by following the first link of their lists.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = {
    "tower": "/",
    "feeds": "/feeds",
    "feed": "/feeds > #feeds tbody th a",
    "quarantine": "/quarantine",
    "group": "/quarantine > #groups tbody th a",
    "datasets": "/datasets",
    "dataset": "/datasets > #datasets tbody th a",
    "ledger": "/ledger",
    "account": "/account",
    "sign-in": "/sign-in",
    "not-found": "/no-such-page",
}


def shoot(page: Page, url: str, place: str, target: Path) -> None:
    """Open a page, or the first link of a list after `>`, and write its picture."""
    path, _, link = place.partition(" > ")
    page.goto(url + path, wait_until="load")
    if link:
        href = page.locator(link).first.get_attribute("href")
        page.goto(f"{url}{href}", wait_until="load")
    page.evaluate("document.fonts.ready")
    page.wait_for_function("() => (document.getElementById('live')?.dataset.state ?? 'live') === 'live'", timeout=20000)
    # The bars stand at the edges of the window, so the window grows to the page.
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": max(height, page.viewport_size["height"])})
    page.screenshot(path=target)
    # 256 colours are enough for flat pages and keep the repository small.
    Image.open(target).convert("RGB").quantize(256).save(target, optimize=True)
    print(target)


def run(browser: Browser, args: argparse.Namespace) -> None:
    """Write every picture asked for."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for theme in args.themes.split(","):
        for width in args.widths.split(","):
            context = browser.new_context(
                viewport={"width": int(width), "height": 1024 if int(width) > 700 else 844},
                color_scheme=theme,
                reduced_motion="reduce",
                has_touch=int(width) < 700,
                bypass_csp=True,
            )
            for name, place in PAGES.items():
                if args.only and name not in args.only.split(","):
                    continue
                context.clear_cookies()
                if name != "sign-in" and args.session:
                    context.add_cookies([{"name": "weftline_session", "value": args.session, "url": args.url}])
                page = context.new_page()
                shoot(page, args.url, args.at or place, out / f"{args.prefix}{name}-{width}-{theme}.png")
                page.close()
            context.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--session", default=os.environ.get("WEFTLINE_SESSION", ""))
    parser.add_argument("--only", default="")
    parser.add_argument("--at", default="", help="open this path instead, for the one page named by --only")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--themes", default="light,dark")
    parser.add_argument("--widths", default="1440,390")
    parser.add_argument("--out", default=str(Path(__file__).parents[1] / "docs" / "screenshots"))
    with sync_playwright() as driver:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = driver.chromium.launch(executable_path=chromium, args=ARGS)
        run(browser, parser.parse_args())
        browser.close()


if __name__ == "__main__":
    main()
