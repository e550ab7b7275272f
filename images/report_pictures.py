"""Draw docs/report.md's pictures, of the demo's run: needs Chromium and Playwright.

Run `bash script/demo.sh` first, then `.venv/bin/python images/report_pictures.py`. The photographs
are the project's own renderings, so the pictures may be passed on.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parent
SIZE = {"width": 1180, "height": 900}


def main(page: Path = Path("demo/run/report.html")) -> None:
    """Write report_light.png, the page's top, and report_dark.jpg, its gallery."""
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
        for scheme, place in (("light", "header"), ("dark", "#gallery .legend")):
            shown = browser.new_page(viewport=SIZE, color_scheme=scheme)
            shown.goto(page.absolute().as_uri())
            shown.locator(place).evaluate("element => element.scrollIntoView()")
            shown.wait_for_timeout(1500)
            picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
            if scheme == "light":
                flat = picture.quantize(64, dither=Image.Dither.NONE)
                flat.save(IMAGES / "report_light.png", optimize=True)
            else:
                picture.save(IMAGES / "report_dark.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
