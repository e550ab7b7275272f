"""Headless Chromium, driven by Playwright, for tests that open a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium on the path")


@contextmanager
def started() -> Iterator[Any]:
    """Debian's Chromium; skips where there is no Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, file: Path) -> Iterator[Any]:
    """A page, its first picture drawn; in the end nothing was wrong, nothing asked of a network."""
    page = browser.new_page(viewport={"width": 1100, "height": 800}, color_scheme="light")
    faults: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.locator("#gallery").evaluate("element => element.scrollIntoView()")
    page.locator(".card canvas[data-drawn]").first.wait_for()
    yield page
    # said of the tests' own readings
    assert [fault for fault in faults if "willReadFrequently" not in fault] == []
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    page.close()
