"""report.html in a browser: on a laptop and on a phone, light and dark."""

import json
import shutil
from dataclasses import replace

import pytest

from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.results.records import Reason, Validity

pytestmark = pytest.mark.chromium

# UC Merced's, whose longest words are longer than most.
CLASSES = (
    "agricultural", "airplane", "baseballdiamond", "beach", "buildings", "chaparral", "denseresidential", "forest",
    "freeway", "golfcourse", "harbor", "intersection", "mediumresidential", "mobilehomepark", "overpass",
    "parkinglot", "river", "runway", "sparseresidential", "storagetanks", "tenniscourt",
)  # fmt: skip

# What sticks out of its box, apart from what a person can scroll; and words that are torn in two.
FAULTS = """
const faults = [];
if (document.documentElement.scrollWidth > window.innerWidth)
    faults.push('the page is ' + document.documentElement.scrollWidth + ' pixels wide');
for (const element of document.querySelectorAll('main *')) {
    if (element.closest('svg') || element.closest('.scroll')) continue;
    if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0)
        faults.push(element.outerHTML.slice(0, 80) + ' overflows');
}
const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
    if (texts.currentNode.parentElement.closest('svg, .scroll')) continue;
    for (const word of texts.currentNode.data.matchAll(/[A-Za-z]+/g)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        const tops = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
        if (tops.size > 1) faults.push('torn: ' + word[0]);
    }
}
return faults;
"""

FIGURES = """
return [...document.querySelectorAll('svg')].map(svg => {
    const box = svg.getBoundingClientRect();
    const shapes = [...svg.querySelectorAll('path, circle')].filter(shape => shape.getBoundingClientRect().width > 0);
    return [svg.getAttribute('aria-label') || '', Math.round(box.width), Math.round(box.height), shapes.length];
});
"""

CONTRAST = """
const luminance = rgb => {
    const [r, g, b] = rgb.match(/[0-9.]+/g).map(Number).map(v => v / 255).map(
        v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const faults = [];
for (const [text, card] of [['.soft', '.card'], ['.figure', '.card'], ['.validity strong', '.validity']]) {
    const [a, b] = [getComputedStyle(document.querySelector(text)).color,
                    getComputedStyle(document.querySelector(card)).backgroundColor].map(luminance);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faults.push(text + ' ' + contrast.toFixed(2));
}
return faults;
"""


@pytest.fixture(scope="module")
def page(bundle_folder, measured, tmp_path_factory):
    """Return the address of a page with every part: reasons, a failed row, long names, differences."""
    report = measured(bundle_folder, CLASSES, 210)
    rows = (
        *report.rows[:2],
        replace(report.rows[2], spec=replace(report.rows[2].spec, configuration="from ONNX")),
        *report.rows[3:],
    )
    reasons = Reason(
        "the rounds differ by up to 33% (p50 of OpenVINO fp16 CPU), expected at most 10%", "close programs"
    )
    report = replace(
        report, rows=rows, validity=Validity(False, (reasons, Reason("the machine ran on battery", "plug it in")))
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_html(report), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Return a headless Chromium that keeps its log, for all tests of this file: it takes seconds to start."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for switch in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (380, "light"), (380, "dark")], ids=lambda p: f"{p[0]}-{p[1]}")
def opened(request, browser, page):
    """The browser with the page open, at a width and in a colour scheme."""
    width, scheme = request.param
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    browser.get(page)
    assert browser.execute_script("return window.innerWidth") == width
    return browser


def test_it_needs_nothing_and_logs_nothing(opened, page):
    assert opened.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requests = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # Chromium's own first page asks for this and that.
    asked = {request["request"]["url"] for request in requests if request["documentURL"] == page}
    assert {url for url in asked if not url.startswith("data:")} == {page}


def test_no_text_overflows_and_no_word_is_torn(opened):
    for details in opened.find_elements("css selector", "details"):
        opened.execute_script("arguments[0].open = true", details)
    assert opened.execute_script(FAULTS) == []


def test_every_figure_is_there_with_its_numbers_as_text(opened):
    figures = opened.execute_script(FIGURES)
    assert figures[0][0].startswith("Accuracy against median latency")
    # A point for each row that worked, and a histogram likewise.
    assert figures[0][3] == 4
    assert len(figures) == 5
    for label, width, height, n_shapes in figures:
        assert label
        assert width > 250
        assert height >= 40
        assert n_shapes >= 1
    text = opened.execute_script("return document.querySelector('main').textContent")
    for figure in ("p50 40.0, p90 40.8, p99 40.8 ms", "16.0x (16.0 to 16.0)", "5.50", "classified as"):
        assert figure in text, figure
    for part in (
        "validity",
        "recommendation",
        "results",
        "scatter",
        "latency",
        "classes",
        "confusion1",
        "disagreements",
        "details",
    ):
        assert opened.find_element("id", part).is_displayed(), part
    assert len(opened.find_elements("css selector", "#classes .class")) == len(CLASSES)
    assert len(opened.find_elements("css selector", "#confusion1 .matrix tbody tr")) == len(CLASSES)
    assert len(opened.find_elements("css selector", "#disagreements tbody tr")) == 4
    assert len(opened.find_elements("css selector", "#results .bar")) >= 4 * 4


def test_the_text_can_be_read_in_light_and_dark(opened):
    assert opened.execute_script(CONTRAST) == []
