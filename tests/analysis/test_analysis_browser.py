"""The report in a real browser: on a desk, on a phone, in the dark and on paper."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest

import grokray
from grokray.analysis.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
pytestmark = [
    pytest.mark.skipif(not find_spec("playwright"), reason="playwright, which drives the browser, is not installed"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (Debian: apt-get install chromium)"),
]
# Figures that are as wide as nothing, or stick out of the page; and letters that are too small to be read.
MEASURE = """() => {
  const page = document.documentElement.clientWidth;
  const figures = [...document.querySelectorAll('svg.figure')].map(f => f.getBoundingClientRect());
  const texts = [...document.querySelectorAll('svg.figure text')].map(t => t.getBoundingClientRect().height);
  return {
    page, scroll: document.documentElement.scrollWidth,
    figures: figures.length,
    hidden: figures.filter(f => f.width < 200 || f.height < 40).length,
    outside: figures.filter(f => f.left < 0 || f.right > page + 1).length,
    texts: texts.length, smallest: Math.min(...texts),
    ink: getComputedStyle(document.body).color, paper: getComputedStyle(document.body).backgroundColor,
    line: getComputedStyle(document.querySelector('#survival svg.figure g[id$="line2d_1"] path')).stroke,
  };
}"""


@pytest.fixture(scope="module")
def report(sweep_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(grokray.load(sweep_path), path)
    return path


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        profile = tmp_path_factory.mktemp("profile")
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True, args=ARGUMENTS
        )
        yield browser
        browser.close()


@pytest.fixture
def page(context, report):
    """The report, opened; whatever it says on the console or asks for fails the test in the end."""
    faults = []
    page = context.new_page()
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))

    def only_itself(route):
        address = route.request.url
        if address == report.as_uri() or address.startswith("data:"):
            route.continue_()
        else:
            faults.append(f"asked for {address}")
            route.abort()

    page.route("**/*", only_itself)
    page.goto(report.as_uri())
    yield page
    page.close()
    assert faults == []


@pytest.mark.parametrize("width", [1200, 390, 320])
def test_nothing_sticks_out(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    found = page.evaluate(MEASURE)
    assert found["scroll"] <= found["page"]
    assert (found["hidden"], found["outside"]) == (0, 0)
    assert found["figures"] >= 15
    assert found["texts"] > 100


def test_letters_can_be_read_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate(MEASURE)["smallest"] > 6


def test_the_dark_page_is_dark_with_its_figures(page):
    page.emulate_media(color_scheme="light")
    light = page.evaluate(MEASURE)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(MEASURE)
    assert (_lightness(light["paper"]), _lightness(dark["paper"])) == (
        pytest.approx(0.996, abs=0.01),
        pytest.approx(0.09, abs=0.02),
    )
    assert _lightness(dark["ink"]) > 0.8
    assert _lightness(light["ink"]) < 0.2
    assert dark["line"] != light["line"]


def test_wide_tables_scroll_in_their_place(page):
    page.set_viewport_size({"width": 390, "height": 800})
    widths = page.evaluate("[...document.querySelectorAll('.scroll')].map(e => [e.scrollWidth, e.clientWidth])")
    assert any(inner > outer for inner, outer in widths)
    assert max(outer for _, outer in widths) <= 390


def test_folded_tables_open(page):
    page.click("#robustness details summary")
    assert page.locator("#robustness details table").is_visible()
    page.click("nav a[href='#effects']")
    assert page.locator("#effects h2").bounding_box()["y"] < 300


def test_it_prints(page):
    page.emulate_media(media="print", color_scheme="dark")
    data = page.pdf(format="A4")
    assert data.startswith(b"%PDF")
    assert 4 <= data.count(b"/Type /Page\n") <= 30
    # Paper is white, whatever the screen likes.
    assert _lightness(page.evaluate(MEASURE)["ink"]) < 0.2


def test_on_paper_what_belongs_together_stays_together(page):
    page.emulate_media(media="print")
    whole = page.evaluate(
        """[...document.querySelectorAll('.scroll')].map(
             e => [e.querySelectorAll('tbody tr').length, getComputedStyle(e).breakInside])"""
    )
    assert {rows <= 12 for rows, _ in whole} == {True, False}
    assert all((inside == "avoid") == (rows <= 12) for rows, inside in whole)
    for what in (".pictures", "#survival tbody tr:last-child"):
        assert page.evaluate(f"getComputedStyle(document.querySelector('{what}')).breakBefore") == "avoid"
    for what in ("h2", "details > summary", "caption", "tbody tr:first-child", ".about"):
        assert page.evaluate(f"getComputedStyle(document.querySelector('{what}')).breakAfter") == "avoid"


def _lightness(colour: str) -> float:
    """rgb(254, 254, 254) → 0.996"""
    numbers = colour[colour.index("(") + 1 : -1].split(",")[:3]
    return sum(float(number) for number in numbers) / 3 / 255
