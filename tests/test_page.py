import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver

from darkroom.components.evaluation.artifacts import MetricRow
from darkroom.components.report.files import page
from tests.conftest import show_as
from tests.report_facts import (
    DIGITS,
    HOSTILE,
    SECTIONS,
    facts,
    without_intervals,
    without_predictions,
)

WIDTHS = (1400, 400)


@pytest.fixture
def look(browser: webdriver.Chrome, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Opens a page at a width, checks what no page may do, and gives what is seen of it."""

    def opened(content: str, width: int, scheme: str = "light") -> np.ndarray:
        (tmp_path / "report.html").write_text(content, encoding="utf-8")
        show_as(browser, width, scheme)
        browser.get("about:blank")
        for log in ("browser", "performance"):  # of whatever page was there before
            browser.get_log(log)
        browser.get((tmp_path / "report.html").as_uri())
        assert browser.get_log("browser") == []
        logged = (json.loads(e["message"])["message"] for e in browser.get_log("performance"))
        requests = [e["params"] for e in logged if e["method"] == "Network.requestWillBeSent"]
        asked = [request["request"]["url"] for request in requests]
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert len([url for url in asked if url.startswith("file:")]) <= 1
        assert browser.execute_script("return window.innerWidth") == width
        across = "return document.documentElement.scrollWidth"
        assert browser.execute_script(across) <= width
        assert browser.execute_script("return window.harmed") is None
        broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
        assert browser.execute_script(broken) == 0
        browser.execute_script(
            "document.querySelectorAll('details').forEach(d => { d.open = true })"
        )
        assert browser.execute_script(across) <= width
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as picture:
            return np.asarray(picture.convert("RGB"))

    return opened


def colours(pixels: np.ndarray) -> int:
    return len(np.unique(pixels.astype(np.int32) @ [1 << 16, 1 << 8, 1]))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("classes", "reached"),
    [
        (DIGITS, len(SECTIONS)),
        (HOSTILE, len(SECTIONS)),
        (tuple(f"kind {i} of a fruit with a long name" for i in range(40)), len(SECTIONS)),
        (DIGITS, 1),
        (DIGITS, 0),
    ],
    ids=["digits", "hostile", "many", "data", "nothing"],
)
def test_a_page_is_whole_at_any_width(
    look: Callable[..., np.ndarray],
    tmp_path: Path,
    classes: tuple[str, ...],
    reached: int,
    width: int,
) -> None:
    seen = look(page(facts(tmp_path, classes, reached), tmp_path), width)
    assert seen.shape[1] == width
    assert colours(seen) > 100


def test_a_page_is_dark_where_people_want_it_dark(
    look: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    content = page(facts(tmp_path), tmp_path)
    assert look(content, 1400)[0, 0].mean() > 200
    assert look(content, 1400, "dark")[0, 0].mean() < 60


def test_names_stay_names(
    look: Callable[..., np.ndarray], browser: webdriver.Chrome, tmp_path: Path
) -> None:
    look(page(facts(tmp_path, HOSTILE), tmp_path), 1400)
    text = browser.execute_script("return document.body.textContent")
    for name in HOSTILE:
        assert name in text
    assert browser.execute_script("return document.scripts.length") == 0


def test_a_page_can_be_read_aloud(
    look: Callable[..., np.ndarray], browser: webdriver.Chrome, tmp_path: Path
) -> None:
    look(page(facts(tmp_path), tmp_path), 1400)

    def count(selector: str) -> Any:
        return browser.execute_script(f"return document.querySelectorAll('{selector}').length")

    assert count("h1") == 1
    assert count("table") == count("table > caption") > 5
    assert count("th") == count("th[scope]") > 20
    assert count("img") == count('img[alt]:not([alt=""])') > 20
    assert count("svg") == count("svg[role=img][aria-label]") > 5
    links = "return [...document.querySelectorAll('nav a')].map(a => a.hash)"
    sections = "return [...document.querySelectorAll('section')].map(s => '#' + s.id)"
    assert browser.execute_script(links) == browser.execute_script(sections)


def test_the_same_facts_give_the_same_page(tmp_path: Path) -> None:
    found = facts(tmp_path)
    content = page(found, tmp_path)
    assert content == page(found, tmp_path)
    assert len(content) < 1_000_000


def words(content: str) -> str:
    """What a page says, without its style and its drawings."""
    shown = re.sub(r"<(style|svg).*?</\1>", "", content, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", shown))


def test_what_a_run_did_not_get_to_is_said(tmp_path: Path) -> None:
    said = words(page(facts(tmp_path, reached=0), tmp_path))
    # The search and the trial on a server are of some configurations only.
    assert said.count("The run didn't get here.") == len(SECTIONS) - 2
    assert "Search" not in said
    assert "Not evaluated" in said
    assert "Limits" not in said


def test_a_failed_run_says_so_first(tmp_path: Path) -> None:
    found = facts(tmp_path, reached=2)
    found["failure"] = {"node": "Trainer", "sentence": "The loss is no number."}
    said = words(page(found, tmp_path))
    assert said.index("Trainer failed") < said.index("The loss is no number.") < said.index("Data")


def test_a_page_has_what_was_found(tmp_path: Path) -> None:
    said = words(page(facts(tmp_path), tmp_path))
    for part in (
        "✗ Not blessed",
        "recall of &#39;0&#39; is 0.61, must be at least 0.80",
        "against the baseline, version 1795700000.",
        "✗ missed Recall of 0 at least 0.8 0.6100 0.360 to 0.830 0.8300 18",
        "Accuracy 0.9600 – 0.9000 +0.0600 better",
        "Loss 0.2000 – 0.9000 −0.7000 better",
        "Calibration error –",
        "0 ✗ taken for 1, 0.97",
        "✓ passed Accuracy lower than the baseline by at most 0.01 0.9600 change −0.004 to +0.120",
        "image/format = JPEG 9 0.7000 0.600 to 0.800 ▼ lower",
        "image/format = PNG 171 0.9700 0.900 to 1.000 not clearly lower",
        "0.611 0.900 18 0.360 to 0.830",
        "macro average 0.970 0.960 0.959",
        "12,345, 12,000 of them trainable",
        "image_bytes string [any]",
        "bundled: digits",
        "0123456789 on main, with changes that were not committed",
        "Every image has image/height 8.",
        "2 does not decode",
        "Intended use Digits of forms.",
        "✗ failed",
    ):
        assert part in said, part


def test_a_model_of_many_labels_has_no_confusion(tmp_path: Path) -> None:
    found = facts(tmp_path)
    update = {"multi_label": True, "confusion": None, "calibration": [], "baseline": None}
    found["evaluation"] = found["evaluation"].model_copy(update=update)
    content = page(found, tmp_path)
    assert "Confusion" not in content
    assert "there is no baseline" in words(content)


def test_an_evaluation_without_predictions_has_a_page(
    look: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    content = page(without_predictions(facts(tmp_path)), tmp_path)
    look(content, 1400)
    said = words(content)
    assert "the eval split gave no predictions" in said
    assert "On 0 examples of the eval split; there is no baseline. Nothing was measured." in said
    for left_out in ("Each class", "Thresholds", "Slices", "mistakes"):
        assert left_out not in said


def test_many_reasons_are_folded(tmp_path: Path) -> None:
    found = facts(tmp_path)

    def folded(many: int) -> str:
        found["verdict"]["reasons"] = [f"reason {i}." for i in range(many)]
        content = page(found, tmp_path)
        for reason in found["verdict"]["reasons"]:
            assert reason in content
        header = content[content.index("<header>") : content.index("</header>")]
        _, _, rest = header.partition("<details>")
        return words(rest)

    assert folded(5) == ""
    assert folded(6).startswith(" and 1 more reason reason 5.")
    assert folded(20).startswith(" and 15 more reasons reason 5. reason 6.")


def test_many_slices_are_folded(tmp_path: Path) -> None:
    found = facts(tmp_path)
    rows = found["evaluation"].metrics
    one = next(row for row in rows if row.slice)

    def folded(many: int) -> bool:
        cut = [one.model_copy(update={"slice": {"image/height": i}}) for i in range(many)]
        found["evaluation"].metrics[:] = [row for row in rows if not row.slice] + cut
        return f"<summary>Metrics of {many} slices</summary>" in page(found, tmp_path)

    assert not folded(40)
    assert folded(41)


def test_a_slice_without_an_interval_is_not_judged(tmp_path: Path) -> None:
    found = facts(tmp_path)
    without_intervals(found["evaluation"].metrics)
    said = words(page(found, tmp_path))
    assert "image/format = JPEG 9 0.7000 – –" in said
    assert "not clearly lower" not in said


def test_of_a_users_metric_only_the_change_is_said(tmp_path: Path) -> None:
    found = facts(tmp_path)
    brier = MetricRow(metric="brier", value=0.1, baseline=0.3, difference=-0.2)
    found["evaluation"].metrics.append(brier)
    said = words(page(found, tmp_path))
    assert "Brier 0.1000 – 0.3000 −0.2000 " in said
    assert "−0.2000 worse" not in said
    assert "−0.2000 better" not in said


def test_a_picture_that_is_not_there_is_missed(tmp_path: Path) -> None:
    found = facts(tmp_path)
    missing = words(page(found, tmp_path)).count("no picture")
    (tmp_path / "pictures" / "example-1.png").unlink()
    (tmp_path / "pictures" / "example-2.png").write_bytes(b"")
    assert words(page(found, tmp_path)).count("no picture") == missing + 2
