"""The report as one HTML file: its content, and how it looks in a browser, on a laptop and a phone, light and dark."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.results.per_class import confusion_of
from overfly.benchmarks.results.records import Reason

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


def test_the_page_loads_nothing_and_escapes_what_it_shows(report):
    page = report_html(report)
    assert not re.findall(r"(?:https?:)?//[a-z0-9]", page.replace("http://www.w3.org/2000/svg", ""))
    assert "<script" not in page
    assert "forest <b>" not in page
    assert "forest &lt;b&gt;" in page
    assert "storage &amp; tanks" in page


def sections_of(page):
    """Return the ids of the page's sections, in their order."""
    return re.findall(r'<section[^>]* id="(\w+)"', page)


def test_the_page_shows_every_part(report):
    page = report_html(report)
    assert sections_of(page) == [
        "validity",
        "recommendation",
        "results",
        "scatter",
        "latency",
        "reliability",
        "coverage",
        "classes",
        # Of the compared row and of the baseline.
        "confusion1",
        "confusion2",
        "disagreements",
        "mistakes",
        "details",
        "method",
        "machine",
    ]
    # The scatter plot, a histogram for each row that worked, and two charts of probabilities.
    assert page.count("<svg") == 1 + 4 + 2
    assert "Images classified differently: 4" in page


def test_without_a_row_that_worked_there_are_no_charts_and_no_classes(report):
    rows = tuple(
        replace(row, status="no memory", quality=None, speed=None, difference=None, measurements=None)
        for row in report.rows
    )
    page = report_html(replace(report, rows=rows, baseline=None))
    assert "<svg" not in page
    assert page.count("no memory") >= len(rows)
    assert sections_of(page) == ["validity", "recommendation", "results", "details", "method", "machine"]


@pytest.mark.parametrize(
    ("title", "widths"),
    [
        ("p50 ms", [100, 25, 25, 6.25]),  # 40, 10, 10 and 2.5 ms
        ("images/s", [5, 15.62, 15.62, 100]),  # 40, 125, 125 and 800 images per second
        ("size MiB", [100, 100, 100, 25]),
        ("kappa", [None] * 4),
    ],
)
def test_a_bar_shows_the_share_of_the_largest_value(report, title, widths):
    cells = re.findall(rf'<td data-label="{title}">(.*?)</td>', report_html(report))
    found = [re.search(r'class="bar"><i style="width:([0-9.]+)%', cell) for cell in cells]
    assert [bar and float(bar[1]) for bar in found] == widths


def test_an_invalid_report_shows_its_reasons_and_a_provisional_recommendation(report):
    reasons = (Reason("no <mains>", "plug it in"),)
    page = report_html(replace(report, validity=replace(report.validity, valid=False, reasons=reasons)))
    assert 'class="card validity invalid"' in page
    assert "no &lt;mains&gt;" in page
    assert "plug it in" in page
    assert "Provisional: " in page
    assert page.count('<li class="failed">') == 1
    assert page.count('<li class="passed">') == len(report.validity.passed) > 0


def section_of(page, name):
    """Return the HTML of a section."""
    return re.search(rf'<section[^>]* id="{name}">(.*?)</section>', page, re.DOTALL)[1]


def test_the_recommended_row_is_shown_in_large_figures(report):
    section = section_of(report_html(report), "recommendation")
    assert re.findall(r'<b class="num">([^<]+)<small>([^<]+)</small>', section) == [
        ("2.50", "ms p50"),
        ("800", "images/s"),
    ]
    assert re.findall(r'class="place">([^<]+)<', section) == ["int8 on CPU"] * 2
    assert re.findall(r'class="gain">([^<]+)<', section) == [
        "16.0x (16.0 to 16.0) against PyTorch fp32",
        "20.0x (20.0 to 20.0) against PyTorch fp32",
    ]


@pytest.mark.parametrize(("name", "row"), [("confusion1", 4), ("confusion2", 0)])
def test_a_confusion_matrix_has_the_counts_of_its_row_and_their_shares(report, name, row):
    section = section_of(report_html(report), name)
    cells = re.findall(r'<td(?: class="(hit|miss)" style="--a:([0-9.]+)" title="[^"]*")?>([0-9]*)</td>', section)
    counts = confusion_of(report, row)
    assert [int(text or 0) for *_, text in cells] == counts.flatten().tolist()
    # Each class has 20 images.
    assert [float(share or 0) for _, share, _ in cells] == [round(n / 20, 3) for n in counts.flatten().tolist()]
    kinds = np.where(counts == 0, "", np.where(np.eye(3, dtype=bool), "hit", "miss"))
    assert [kind for kind, *_ in cells] == kinds.flatten().tolist()


def test_a_class_that_is_neither_a_label_nor_a_prediction_is_not_in_the_matrix(report, add_class):
    section = section_of(report_html(add_class(report, "unseen")), "confusion1")
    assert "unseen" not in section


def test_the_images_after_the_first_20_that_are_classified_differently_are_folded_away(report):
    baseline, row = report.rows[0].measurements, report.rows[4]
    others = tuple((p + 1) % 3 if i < 23 else p for i, p in enumerate(baseline.predictions))
    row = replace(row, measurements=replace(row.measurements, predictions=others))
    section = section_of(report_html(replace(report, rows=(*report.rows[:4], row))), "disagreements")
    shown, folded = section.split("<details>")
    # One row of each table is its head.
    assert (shown.count("<tr>"), folded.count("<tr>")) == (1 + 20, 1 + 3)
    # The baseline has image 4 wrong.
    assert [int(n) for n in re.findall(r": ([0-9]+)\.", shown)] == [22, 1, 0]


def test_an_image_with_a_picture_is_shown_with_its_maps_and_answers(report, add_pictures):
    # Of the four that are classified differently, one has no picture; image 4 is a mistake of both rows.
    section = section_of(report_html(add_pictures(report, (4, 7, 10, 11))), "disagreements")
    assert section.count('<div class="picture">') == 3
    assert section.count('<table class="diff">') == 1
    first = section.split('<div class="picture">')[1]
    assert re.findall(r"<figcaption>([^<]+)</figcaption>", first) == ["beach", "forest &lt;b&gt;"]
    images = re.findall(r'src="data:image/(jpeg|png);base64,([^"]+)"', first)
    assert [kind for kind, _ in images] == ["jpeg", "jpeg", "png", "jpeg", "png"]
    with Image.open(io.BytesIO(base64.b64decode(images[2][1]))) as layer:
        # The map of the second class has twice the values: the largest is 4.
        assert layer.getpixel((0, 0)) == (255, 96, 0, pytest.approx(255 * 0.65 / 2, abs=12))
    assert first.count("57.6%") == 2  # e / (e + 2), of both rows
    assert "Orange" in section


def test_the_surest_mistakes_are_shown_and_why_there_are_no_maps(report, add_pictures):
    page = report_html(replace(add_pictures(report, (4,), ()), no_maps="vgg16 has no class activation maps"))
    section = section_of(page, "mistakes")
    assert "vgg16 has no class activation maps." in section
    assert (section.count('<div class="picture">'), section.count("<figcaption>")) == (1, 0)
    # One row of the table is its head, and image 4 is in the picture.
    assert section.count("<tr>") == 1 + 4 + 3
    assert "Orange" not in page


def test_the_charts_of_probabilities_have_the_figures_as_text(report):
    page = report_html(report)
    quality = report.rows[4].quality
    # All images have the same confidence, so the ECE is the difference of two means.
    assert quality.ece.value == pytest.approx(55 / 60 - np.e / (np.e + 2))
    assert f"ECE {quality.ece.value:.3f} ({quality.ece.ci95[0]:.3f} to {quality.ece.ci95[1]:.3f})" in page
    points = re.findall(
        r'<circle class="point c4" cx="([0-9.]+)" cy="([0-9.]+)" r="5"', section_of(page, "reliability")
    )
    assert points == [(f"{46 + 370 * (0.5761 - 0.5) / 0.5:.1f}", f"{250 - 236 * (55 / 60 - 0.5) / 0.5:.1f}")]
    shares = re.findall(r"<td>([0-9.]+)</td>", section_of(page, "coverage"))
    assert shares == ["98.3"] * 6 + ["91.7"] * 6


def test_of_several_bundles_the_chart_comes_first_and_the_page_says_which_rows_it_shows(several):
    page = report_html(several)
    assert sections_of(page)[:5] == ["validity", "recommendation", "scatter", "latency", "results"]
    assert "<h1>small, large</h1>" in page
    text = " ".join(re.sub("<[^>]*>", "", page).split())
    assert "the baseline, large PyTorch fp32, and large OpenVINO int8 CPU, which is recommended for latency." in text
    assert re.findall("<h3>(.*)</h3>", section_of(page, "details")) == ["small", "large"]
    assert "int8 of large on CPU" in section_of(page, "recommendation")
    # Two charts of probabilities, the scatter plot, and a histogram of each row that can be deployed and the baseline.
    assert page.count("<svg") == 2 + 1 + 5


@pytest.fixture(scope="module")
def page(bundle_folder, measured, add_pictures, tmp_path_factory):
    """Return the address of a page with every part: reasons, a failed row, long names, differences."""
    report = add_pictures(measured(bundle_folder, CLASSES, 210), (4, 7, 10), (6, 12, 18))
    rows = (
        *report.rows[:2],
        replace(report.rows[2], spec=replace(report.rows[2].spec, configuration="from ONNX")),
        *report.rows[3:],
    )
    reasons = (Reason(f"a reason {'of many words ' * 6}", "close programs"), Reason("no mains", "plug it in"))
    report = replace(report, rows=rows, validity=replace(report.validity, valid=False, reasons=reasons))
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
    """The browser with the page open, at a width and in a color scheme."""
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


@pytest.mark.chromium
def test_it_needs_nothing_and_logs_nothing(opened, page):
    assert opened.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requests = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # Chromium's own first page asks for this and that.
    asked = {request["request"]["url"] for request in requests if request["documentURL"] == page}
    assert {url for url in asked if not url.startswith("data:")} == {page}


@pytest.mark.chromium
def test_no_text_overflows_and_no_word_is_torn(opened):
    for details in opened.find_elements("css selector", "details"):
        opened.execute_script("arguments[0].open = true", details)
    assert opened.execute_script(FAULTS) == []


@pytest.mark.chromium
def test_every_figure_is_there_with_its_numbers_as_text(opened):
    figures = opened.execute_script(FIGURES)
    assert figures[0][0].startswith("Accuracy against median latency")
    # A point for each row that worked, and a histogram for each.
    assert figures[0][3] == 4
    assert len(figures) == 7
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
        "reliability",
        "coverage",
        "classes",
        "confusion1",
        "disagreements",
        "details",
    ):
        assert opened.find_element("id", part).is_displayed(), part
    assert len(opened.find_elements("css selector", "#classes .class")) == len(CLASSES)
    assert len(opened.find_elements("css selector", "#confusion1 .matrix tbody tr")) == len(CLASSES)
    assert len(opened.find_elements("css selector", "#disagreements .diff tbody tr")) == 2
    assert len(opened.find_elements("css selector", "#disagreements .picture img")) == 2 * (1 + 3 * 2)
    assert len(opened.find_elements("css selector", "#results .bar")) >= 4 * 4


@pytest.mark.chromium
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_of_four_bundles_fits_its_window(browser, make_several, add_pictures, tmp_path, width):
    names = ("mobilenet_v2-96px/bundle", "mobilenet_v2-128px/bundle", "mobilenet_v2-192px/bundle", "resnet18/bundle")
    path = tmp_path / "report.html"
    path.write_text(report_html(add_pictures(make_several(names, CLASSES, 210), (4, 7), (4, 5))), encoding="utf-8")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(path.as_uri())
    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script(FAULTS) == []


@pytest.mark.chromium
def test_the_text_can_be_read_in_light_and_dark(opened):
    assert opened.execute_script(CONTRAST) == []
