"""The page in a browser: headless Chromium sorts, filters, moves the slider and presses keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import needs_chromium, opened, started
from PIL import Image

from smaf.report.charts import bars
from smaf.report.page import Card, Chart, Gallery, Layer, Page, Section, write_page
from smaf.report.thumbnails import fitted, map_uri, mask_uri, photo_uri

CLASSES = ("cat", "dog")
pytestmark = needs_chromium


def card(number: int, iou: float | None, quality: float | None, shown: list[int]) -> Card:
    """A grey photograph whose left half is of its class."""
    photo = Image.new("RGB", (40, 30), (100, 100, 100))
    mask = np.zeros((30, 40), dtype=np.uint8)
    mask[:, :20] = 1 + (shown or [0])[0]
    pictures = {"fused": map_uri(mask / 2.0), "crf": mask_uri(mask)}
    size = fitted(photo.size)
    return Card(f"photo_{number}", size, photo_uri(photo), shown, pictures, quality, iou)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a hundred photographs; the tenth is the worst, the third the least certain."""
    cards = [card(n, 0.5 + n / 400, 0.6 + n / 400, [n % 2]) for n in range(96)]
    cards[10] = card(10, 0.01, 0.95, [0])
    cards[3] = card(3, 0.99, 0.02, [1])
    cards += [card(96, None, None, []), card(97, None, 0.55, [0, 1])]
    section = Section("scores", "Scores", (), [Chart("mIoU", bars("a", "b", ["x"], {"y": [0.5]}))])
    layers = [Layer("fused", "fused map", smooth=True), Layer("crf", "mask")]
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, Page("Test", CLASSES, ["one"], [section], Gallery(cards, layers, "crf")))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, started once."""
    with started() as found:
        yield found


@pytest.fixture
def page(browser: Any, file: Path) -> Iterator[Any]:
    """The page, open."""
    with opened(browser, file) as found:
        yield found


def names(page: Any) -> list[str]:
    found: list[str] = page.locator(".card .name").all_inner_texts()
    return found


def drawn(page: Any, selector: str = ".card canvas") -> list[int]:
    """The colour of a picture's left half, once it is drawn."""
    canvas = page.locator(f"{selector}[data-drawn]").first
    canvas.wait_for()
    page.wait_for_timeout(150)
    pixel: list[int] = canvas.evaluate(
        "canvas => [...canvas.getContext('2d')"
        ".getImageData(canvas.width / 8, canvas.height / 2, 1, 1).data].slice(0, 3)"
    )
    return pixel


def test_the_worst_come_first_and_cards_are_added_as_they_are_needed(page: Any) -> None:
    assert names(page)[0] == "photo_10" and names(page)[-1] != "photo_96"
    assert page.locator("#count").inner_text() == "98 of 98 photographs"
    assert len(names(page)) == 60
    for _ in range(3):
        page.mouse.wheel(0, 20_000)
        page.wait_for_timeout(150)
    assert len(names(page)) == 98 and names(page)[-1] == "photo_96"  # nothing is known of it


def test_it_sorts(page: Any) -> None:
    firsts = {"best": "photo_3", "uncertain": "photo_3", "name": "photo_0", "worst": "photo_10"}
    for order, first in firsts.items():
        page.select_option("#order", order)
        assert names(page)[0] == first, order
    page.select_option("#order", "name")
    assert names(page)[:3] == ["photo_0", "photo_1", "photo_2"]  # numbers, not letters


def test_it_filters_by_class_and_text(page: Any) -> None:
    page.select_option("#class", "1")
    assert page.locator("#count").inner_text() == "49 of 98 photographs"
    page.fill("#text", "PHOTO_9")
    assert set(names(page)) == {f"photo_{n}" for n in (9, 91, 93, 95, 97)}
    page.select_option("#class", "none")
    assert names(page) == ["photo_96"]
    page.fill("#text", "nothing like it")
    assert names(page) == [] and page.locator("#count").inner_text() == "0 of 98 photographs"


def test_layers_and_their_strength(page: Any) -> None:
    grey = np.array([100, 100, 100])
    red = np.array([128, 0, 0])
    assert np.abs(np.array(drawn(page)) - (0.35 * grey + 0.65 * red)).max() < 8
    slider = page.locator(".strength").first
    slider.focus()
    page.keyboard.press("Home")
    assert np.abs(np.array(drawn(page)) - grey).max() < 8
    page.keyboard.press("End")
    assert np.abs(np.array(drawn(page)) - red).max() < 8
    page.keyboard.press("1")
    assert page.locator(".layers button[aria-pressed=true]").first.inner_text() == "1 photograph"
    assert np.abs(np.array(drawn(page)) - grey).max() < 8
    page.locator("#gallery > .tools .layers button", has_text="fused map").click()
    turbo = drawn(page)
    assert max(turbo) - min(turbo) > 60  # in the middle of "turbo"
    label = page.locator(".card canvas").first.get_attribute("aria-label")
    assert label == "fused map of photo_10: cat"


def test_a_key_also_reaches_pictures_that_are_just_being_drawn(page: Any) -> None:
    page.evaluate(
        """async () => {
          const wait = (time) => new Promise((go) => setTimeout(go, time));
          const decode = HTMLImageElement.prototype.decode;
          HTMLImageElement.prototype.decode = async function () {
            await wait(400);
            return decode.call(this);
          };
          const order = document.getElementById("order");
          order.value = "name";
          order.dispatchEvent(new Event("change"));
          await wait(150);
          document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "1", bubbles: true }));
        }"""
    )
    page.locator(".card canvas[data-drawn]").first.wait_for()
    page.wait_for_timeout(1000)
    found = page.locator(".card canvas[data-drawn]").evaluate_all(
        "all => all.map(canvas => canvas.dataset.drawn.split(' ')[1])"
    )
    assert len(found) > 8 and set(found) == {"photo"}


def test_the_viewer_and_its_keys(page: Any) -> None:
    page.locator(".card").first.click()
    name = page.locator("#viewer-name")
    assert name.inner_text() == "photo_10" and page.locator("dialog").is_visible()
    assert page.locator("#viewer-facts").inner_text() == "cat · IoU 1 % · quality 95 % · 1 of 98"
    second = names(page)[1]
    page.keyboard.press("ArrowRight")
    assert name.inner_text() == second
    page.locator("#next").click()
    page.keyboard.press("ArrowLeft")
    assert name.inner_text() == second
    page.keyboard.press("3")
    drawn(page, "#viewer-picture")
    label = page.locator("#viewer-picture").get_attribute("aria-label")
    assert label.startswith(f"mask of {second}")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    focused = page.evaluate("() => document.activeElement.querySelector('.name').textContent")
    assert focused == second
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert name.inner_text() == "photo_10"


def test_keys_do_not_reach_the_gallery_from_a_text(page: Any) -> None:
    page.locator("#text").focus()
    page.keyboard.type("photo_1")
    assert page.locator(".layers button[aria-pressed=true]").first.inner_text() == "3 mask"
    assert page.locator("#count").inner_text() == "11 of 98 photographs"


def test_dark_and_light(page: Any) -> None:
    def paper() -> str:
        found: str = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return found

    def ink() -> str:
        found: str = page.locator("svg .fill-ink").first.evaluate("e => getComputedStyle(e).fill")
        return found

    light = paper(), ink()
    assert light[0] == "rgb(255, 255, 255)"
    page.locator("#theme").click()
    assert paper() == "rgb(20, 24, 30)" and ink() != light[1]
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    page.locator("#theme").click()
    assert (paper(), ink()) == light
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(100)
    assert paper() == "rgb(20, 24, 30)"


def test_a_narrow_window_does_not_scroll_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    page.wait_for_timeout(100)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
