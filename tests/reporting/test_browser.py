"""Pages in Chromium: pictures, slider, zoom, keys, narrow screens, dark mode."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from run_folders import save_generated, write_pairs, write_test, write_training

from basicsr.reporting.report import write_report

api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")]

RED, BLUE = [255, 0, 0], [0, 0, 255]
STAGE = "#pictures .pane canvas"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two tests, one all red and one all blue, with a training; a name is made to break pages."""
    root = tmp_path_factory.mktemp("pages")
    write_pairs(root, ["one", "two"], side=96)
    folders = []
    for name, colour in (("red <b>&\"'", RED), ("blue", BLUE)):
        folder = write_test(root, name, {"one": 21.5, "two": 30.25 + len(name)})
        for image in ("one", "two"):
            save_generated(folder, name, image, np.full((96, 96, 3), colour[::-1], np.uint8))
        folders.append(folder)
    write_report([*folders, write_training(root)], root / "page.html")
    return root / "page.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page in a window, and what its console says."""

    def __init__(self, browser: Any, file: Path, **window: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | window))
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url[:40]))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("#pictures[data-ready]")
        self.wait_for_frame()

    def wait_for_frame(self) -> None:
        """Waits until all is drawn that was to be: pictures and curves are, once a frame."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def pixels(self, number: int = 0) -> np.ndarray:
        """What the screen shows of a pane, (H, W, 3) RGB."""
        self.wait_for_frame()
        content = self.page.locator(STAGE).nth(number).screenshot()
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    def share_of(self, colour: list[int]) -> float:
        """Of the first pane's lower rows, below its tags, how much has a colour."""
        picture = self.pixels()[-60:-20]
        return float((np.abs(picture.astype(int) - colour).max(axis=2) < 8).mean())


@pytest.fixture
def opened(chromium: Any, page_file: Path) -> Iterator[Opened]:
    window = Opened(chromium, page_file)
    yield window
    window.context.close()
    assert not window.said


def test_pictures_load_and_nothing_else_does(opened: Opened) -> None:
    assert all(opened.page.evaluate("[...document.images].map((image) => image.naturalWidth > 0)"))
    assert {url.partition(":")[0] for url in opened.requests} <= {"file", "data"}
    assert opened.share_of(RED) == pytest.approx(0.5, abs=0.06) and opened.share_of(BLUE) == pytest.approx(
        0.5, abs=0.06
    )
    assert "red <b>&\"'" in opened.page.inner_text("h1")


def test_the_slider_moves_by_mouse_by_its_control_and_by_keys(opened: Opened) -> None:
    opened.page.locator(STAGE).scroll_into_view_if_needed()
    box = opened.page.locator(STAGE).bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2, steps=4)
    opened.page.mouse.up()
    assert opened.share_of(RED) == pytest.approx(0.8, abs=0.03)
    for _ in range(10):
        opened.page.keyboard.press("ArrowLeft")
    assert opened.share_of(RED) == pytest.approx(0.6, abs=0.03)
    opened.page.locator("input.divide").fill("10")
    assert opened.share_of(RED) == pytest.approx(0.1, abs=0.03)


def test_zoom_shows_pixels_as_squares_at_the_same_place_in_all_panes(opened: Opened) -> None:
    opened.page.get_by_role("button", name="Side by side").click()
    assert opened.page.locator(STAGE).count() == 5
    opened.page.locator(STAGE).nth(4).focus()
    opened.page.keyboard.press("f")
    for _ in range(12):
        opened.page.keyboard.press("+")
    assert opened.page.locator("output").inner_text() == "1600 %"
    truth = opened.pixels(4)[60:-20, 20:-20]  # inside of the ring of the focus
    # Neighbours within a pixel's square of 16 are equal, and some across its border are not.
    changes = np.flatnonzero(np.abs(np.diff(truth.astype(int), axis=1)).max(axis=(0, 2)))
    assert len(changes) and len(set(changes % 16)) == 1
    opened.page.keyboard.press("Shift+ArrowRight")
    moved = opened.pixels(4)[60:-20, 20:-20]
    np.testing.assert_array_equal(moved[:, :-40], truth[:, 40:])
    opened.page.get_by_role("button", name="1:1").click()
    assert opened.page.locator("output").inner_text() == "100 %"


def test_error_and_spectrum_are_shown(opened: Opened) -> None:
    opened.page.locator(".sides select").nth(1).select_option("GT")
    opened.page.get_by_role("button", name="Error").click()
    picture = opened.pixels()[-60:-20]
    assert picture[:, -100:].max() < 12, "ground truth has no error"
    assert picture[:, 40:100].mean() > 60
    opened.page.get_by_role("button", name="Spectrum").click()
    assert len(np.unique(opened.pixels()[200:, -200:].reshape(-1, 3), axis=0)) > 50
    assert "-70 dB" in opened.page.inner_text(".ramp")


def test_keys_choose_image_method_and_view(opened: Opened) -> None:
    opened.page.locator(STAGE).focus()
    opened.page.keyboard.press("]")
    api.expect(opened.page.locator("#pictures .hint").first).to_have_text(re.compile("^two of set"))
    opened.page.keyboard.press("3")
    assert opened.share_of(RED) == pytest.approx(1, abs=0.06)
    opened.page.keyboard.press("e")
    assert opened.page.get_by_role("button", name="Error").get_attribute("aria-pressed") == "true"


def test_every_control_is_reached_by_tab_and_shows_the_focus(opened: Opened) -> None:
    seen, outlines = [], []
    for _ in range(40):
        opened.page.keyboard.press("Tab")
        name, outline = opened.page.evaluate(FOCUSED)
        seen.append(name)
        outlines.append(outline)
    text = "\n".join(seen)
    for control in (
        "Slider",
        "Error",
        "Zoom in",
        "Divider between",
        "to the left of the divider",
        "Markdown",
        "metric",
    ):
        assert control in text
    assert set(outlines) == {"solid"}


def test_tables_sort_and_copy_in_the_order_shown(opened: Opened) -> None:
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    table = opened.page.locator("#numbers table").first
    table.get_by_role("button", name="mean").click()
    values = [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert values == sorted(values) and len(values) == 4
    table.get_by_role("button", name="mean").click()
    assert table.locator("th").nth(2).get_attribute("aria-sort") == "descending"
    opened.page.get_by_role("button", name="as Markdown").first.click()
    opened.page.wait_for_selector("text=Copied")
    copied = opened.page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[0].startswith("| metric | method |") and len(copied) == 6
    assert [float(line.split("|")[3]) for line in copied[2:]] == sorted(values, reverse=True)


def test_curves_react_to_scale_smoothing_and_legend(opened: Opened) -> None:
    curves = opened.page.locator("#curves .curve")
    before = curves.count()
    opened.page.get_by_role("button", name="Logarithmic").click()
    opened.page.get_by_label("Smoothing").fill("0.6")
    opened.page.wait_for_selector("#curves .raw", state="attached")
    assert curves.count() == before > 5
    opened.page.locator("#curves .legend button").first.click()
    api.expect(curves).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_shows_all_without_scrolling_sideways_and_text_has_contrast(
    scheme: str, chromium: Any, page_file: Path
) -> None:
    window = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme, "has_touch": True}
    opened = Opened(chromium, page_file, **window)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
    contrasts = opened.page.evaluate(CONTRASTS)
    assert len(contrasts) > 60
    assert min(contrasts.values()) >= 4.5, sorted(contrasts.items(), key=lambda item: item[1])[:3]
    background = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, background[4:-1].split(","))) < 60) == (scheme == "dark")
    opened.context.close()
    assert not opened.said


FOCUSED = """() => {
  const element = document.activeElement, box = element.matches("canvas") ? element.parentElement : element;
  return [element.getAttribute("aria-label") ?? element.textContent, getComputedStyle(box).outlineStyle];
}"""

CONTRASTS = """() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.7) return colour;
    }
    return [255, 255, 255];
  };
  const found = {}, unseen = ".unseen, script, noscript, option, :disabled";
  for (const element of document.querySelectorAll("body *")) {
    const text = element.textContent.trim(), style = getComputedStyle(element);
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!hasText || !element.getClientRects().length || element.closest(unseen)) continue;
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const [low, high] = [light(numbers(colour)), light(behind(element))].sort((one, other) => one - other);
    found[`${element.tagName} ${text.slice(0, 40)}`] = (high + 0.05) / (low + 0.05);
  }
  return found;
}"""
