"""The page of the server, in a browser, with real pictures."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from tests.conftest import encoded, show_as
from tests.model_servers import Server, running

PATIENCE = 60


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "light.png").write_bytes(encoded(np.full((8, 8, 3), 255, np.uint8)))
    (folder / "dark <b>.jpg").write_bytes(encoded(np.zeros((8, 8, 3), np.uint8), "JPEG"))
    (folder / "none.png").write_text("no picture")
    return folder


@pytest.fixture
def page(browser: webdriver.Chrome, server: Server) -> Iterator[webdriver.Chrome]:
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(f"http://localhost:{server.rest_port}/")
    wait(browser, lambda: Select(browser.find_element(By.ID, "model")).options)
    yield browser
    # Nothing but this server was asked.
    logged = (json.loads(e["message"])["message"] for e in browser.get_log("performance"))
    asked = [
        event["params"]["request"]["url"]
        for event in logged
        if event["method"] == "Network.requestWillBeSent"
    ]
    own = (f"http://localhost:{server.rest_port}/", "blob:", "data:")
    assert [url for url in asked if not url.startswith(own)] == []


def wait(browser: webdriver.Chrome, check: object) -> None:
    WebDriverWait(browser, PATIENCE).until(lambda _: check())


def results(browser: webdriver.Chrome) -> list[str]:
    return [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#results li")]


def choose(browser: webdriver.Chrome, *files: Path) -> None:
    browser.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))
    done = f"{len(files)} picture{'s' if len(files) > 1 else ''} done."
    wait(browser, lambda: browser.find_element(By.ID, "status").text == done)


def test_pictures_are_classified_with_names_bars_version_and_time(
    page: webdriver.Chrome, pictures: Path
) -> None:
    Select(page.find_element(By.ID, "model")).select_by_visible_text("images")
    choose(page, pictures / "light.png", pictures / "dark <b>.jpg")
    dark, light = results(page)  # the last one first
    assert dark.startswith("dark <b>.jpg")
    words = light.split()
    assert words[:4] == ["light.png", "version", "1", "answered"]
    assert "light 100.0 %" in light.replace("\n", " ")
    bars = page.find_elements(By.CSS_SELECTOR, "#results li:last-child .bar")
    widths = [bar.size["width"] for bar in bars]
    assert widths[0] > 100
    assert widths[1] <= 1
    severe = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def test_what_ingest_takes_the_page_takes(page: webdriver.Chrome, tmp_path: Path) -> None:
    Select(page.find_element(By.ID, "model")).select_by_visible_text("images")
    grey = Image.new("L", (8, 8), 51).quantize(2)
    names = ["a.bmp", "b.webp", "c.tif"]
    for name in names:
        (grey.convert("L") if name == "b.webp" else grey).save(tmp_path / name, lossless=True)
    choose(page, *(tmp_path / name for name in names))
    for words in results(page)[:3]:
        assert "dark 80.0 %" in words.replace("\n", " ")


def test_what_is_no_picture_is_told(page: webdriver.Chrome, pictures: Path) -> None:
    Select(page.find_element(By.ID, "model")).select_by_visible_text("images")
    choose(page, pictures / "none.png")
    assert "an image can't be decoded: not an image" in results(page)[0]
    Select(page.find_element(By.ID, "model")).select_by_visible_text("half_plus_two")
    choose(page, pictures / "light.png")
    assert page.find_elements(By.CSS_SELECTOR, "#results li:first-child .wrong")


def test_labels_can_be_chosen_and_all_of_it_by_keyboard(
    page: webdriver.Chrome, pictures: Path
) -> None:
    Select(page.find_element(By.ID, "model")).select_by_visible_text("images")
    labels = [option.text for option in Select(page.find_element(By.ID, "label")).options]
    assert labels == ["the server's choice", "stable"]
    page.execute_script("document.getElementById('model').focus()")
    focused = ["model"]
    for _ in range(2):
        ActionChains(page).send_keys(Keys.TAB).perform()
        focused.append(page.switch_to.active_element.get_attribute("id"))
    assert focused == ["model", "label", "files"]
    fields = "[...document.querySelectorAll('input, select')]"
    unlabelled = page.execute_script(f"return {fields}.filter(e => !e.labels.length).length")
    assert unlabelled == 0
    assert page.find_element(By.ID, "status").get_attribute("role") == "status"
    assert page.find_element(By.ID, "results").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_it_fits_wide_and_narrow_windows(
    page: webdriver.Chrome, pictures: Path, width: int, scheme: str
) -> None:
    show_as(page, width, scheme)
    Select(page.find_element(By.ID, "model")).select_by_visible_text("images")
    choose(page, pictures / "light.png")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_server_with_keys_asks_for_one(
    browser: webdriver.Chrome, served_models: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("secret")
    base = served_models / "images"
    arguments = ("--model_name=images", f"--model_base_path={base}")
    with running(tmp_path, *arguments, f"--api_key_file={tmp_path / 'keys'}") as server:
        assert server.ask("/models.json").status == 401
        browser.get(f"http://localhost:{server.rest_port}/")
        field = browser.find_element(By.ID, "key")
        wait(browser, field.is_displayed)
        field.send_keys("secret", Keys.TAB)
        wait(browser, lambda: Select(browser.find_element(By.ID, "model")).options)
        choose(browser, pictures / "light.png")
        assert "100.0 %" in results(browser)[0]
