"""The page of a review, in a browser, and the server behind it."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion import corrections
from darkroom.components.ingestion.corrections import Correction
from darkroom.pipeline.review.faults import Fault
from darkroom.pipeline.review.server import Server
from tests import reviewed
from tests.conftest import show_as

PATIENCE = 120
NAMES = [f"flower/{letter}.jpg" for letter in "abcd"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    """Four faults of flowers, of which one is damaged."""
    images = reviewed.looked_at(tmp_path / "records", reviewed.photos())
    a, b, c, d = NAMES
    faults = [
        Fault(a, "train", "flower", "suspect label", 0.01, "relabel china", d, "train", "flower"),
        Fault(b, "train", "flower", "near duplicate", 0.99, "", c, "train", "flower"),
        Fault("<b>.jpg", "train", "flower", "damaged", "cut off", "drop"),
        Fault(d, "train", "flower", "too dark", 0.1),
    ]
    with Server(images, faults) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: Server, path: str, body: object = None, kind: str = "application/json", host: str = ""
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
    headers = {"Host": host or f"localhost:{server.server_port}", "Content-Type": kind}
    text = None if body is None else json.dumps(body)
    connection.request("GET" if text is None else "POST", path, text, headers)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def test_only_who_knows_the_address_is_answered(served: Server) -> None:
    own = f"/{served.token}/"
    decision = {"path": NAMES[0], "action": "drop", "label": ""}
    assert ask(served, own)[0] == 200
    for path in ("/", "/facts.json", "/x/facts.json", f"/{served.token}", f"{own}nosuch"):
        assert ask(served, path)[0] == 404
    assert ask(served, f"{own}facts.json", host="evil.example:80")[0] == 404
    assert ask(served, f"{own}decisions", decision, host="evil.example")[0] == 404
    assert ask(served, "/x/decisions", decision)[0] == 404
    # What another site's form could send.
    assert ask(served, f"{own}decisions", decision, kind="text/plain")[0] == 404
    assert not served.file.exists()
    assert served.server_address[0] == "127.0.0.1"


def test_images_are_those_of_the_records(served: Server) -> None:
    row = served.rows[NAMES[1]]
    status, image = ask(served, f"/{served.token}/images/{row}")
    assert (status, image) == (200, served.images.encoded(row))
    for wrong in ("x", "99", "-1", "..%2fingest.json", "1/../../x"):
        assert ask(served, f"/{served.token}/images/{wrong}")[0] == 404


@pytest.mark.parametrize(
    "decision",
    [
        {"path": NAMES[0], "action": "relabel", "label": ""},
        {"path": NAMES[0], "action": "same", "label": NAMES[0]},
        {"path": NAMES[0], "action": "same", "label": "nosuch"},
        {"path": NAMES[0], "action": "delete", "label": ""},
        {"path": "nosuch", "action": "drop", "label": ""},
        {"path": NAMES[0]},
        [],
        "drop",
    ],
)
def test_what_is_no_decision_is_refused(served: Server, decision: object) -> None:
    status, answer = ask(served, f"/{served.token}/decisions", decision)
    assert status == 400
    assert json.loads(answer)["error"]
    assert not served.file.exists()


def test_a_large_request_is_refused(served: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=PATIENCE)
    connection.putrequest("POST", f"/{served.token}/decisions")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    assert connection.getresponse().status == 413


def test_a_decision_is_saved_beside_those_of_before(served: Server) -> None:
    before = Correction("gone.jpg", "drop")
    corrections.write(served.file, [before])
    own = f"/{served.token}/decisions"
    for action, label in (("drop", ""), ("relabel", "tulip")):
        ask(served, own, {"path": NAMES[0], "action": action, "label": label})
    expected = {"gone.jpg": before, NAMES[0]: Correction(NAMES[0], "relabel", "tulip")}
    assert corrections.read(served.file) == expected
    ask(served, own, {"path": NAMES[0], "action": "", "label": ""})
    assert corrections.read(served.file) == {"gone.jpg": before}


def test_a_damaged_file_of_decisions_stays_as_it_is(served: Server) -> None:
    served.file.write_text("mine")
    status, answer = ask(
        served, f"/{served.token}/decisions", {"path": NAMES[0], "action": "drop", "label": ""}
    )
    assert status == 500
    assert "It isn't saved: " in json.loads(answer)["error"]
    assert served.file.read_text() == "mine"


def test_a_port_that_is_taken_is_told(served: Server) -> None:
    with pytest.raises(DarkroomError, match=r"Choose another --port\."):
        Server(served.images, [], served.server_port)


@pytest.fixture
def page(browser: webdriver.Chrome, served: Server) -> Iterator[webdriver.Chrome]:
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(served.url)
    wait(browser, lambda: heading(browser) == "suspect label")
    yield browser
    logged = (json.loads(e["message"])["message"] for e in browser.get_log("performance"))
    asked = [
        event["params"]["request"]["url"]
        for event in logged
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith((served.url, "data:"))] == []


def wait(browser: webdriver.Chrome, check: object) -> None:
    WebDriverWait(browser, PATIENCE).until(lambda _: check())


def heading(browser: webdriver.Chrome) -> str:
    return str(browser.find_element(By.ID, "what").text)


def press(browser: webdriver.Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def test_all_is_decided_by_keyboard(page: webdriver.Chrome, served: Server) -> None:
    a, b, c, d = NAMES

    def saved(**expected: tuple[str, str]) -> None:
        rows = {name: Correction(name, *value) for name, value in expected.items()}
        wait(page, lambda: corrections.read(served.file) == rows)

    assert len(page.find_elements(By.CSS_SELECTOR, "#pictures img")) == 2
    press(page, Keys.ENTER)  # what is suggested
    saved(**{a: ("relabel", "china")})
    assert heading(page) == "near duplicate"
    press(page, "s")
    saved(**{a: ("relabel", "china"), b: ("same", c)})
    assert heading(page) == "damaged"
    assert "no picture" in page.find_element(By.ID, "pictures").text
    assert "<b>.jpg" in page.find_element(By.ID, "pictures").text
    press(page, "s")  # there is no other image
    press(page, Keys.ARROW_RIGHT)
    assert heading(page) == "too dark"
    press(page, "r", "ro", "se", Keys.ENTER)
    saved(**{a: ("relabel", "china"), b: ("same", c), d: ("relabel", "rose")})
    assert heading(page) == "damaged"
    press(page, "d")
    wait(page, lambda: "<b>.jpg" in corrections.read(served.file))
    assert heading(page) == "Nothing is left to decide here."
    page.find_element(By.ID, "open").click()
    assert heading(page) == "suspect label"
    assert "relabelled china" in page.find_element(By.ID, "pictures").text
    press(page, "u")
    wait(page, lambda: a not in corrections.read(served.file))
    press(page, "x", "d")  # about the other one
    wait(page, lambda: corrections.read(served.file)[d] == Correction(d, "drop"))
    assert page.get_log("browser") == []


def test_decisions_of_before_are_known_and_kinds_can_be_chosen(
    browser: webdriver.Chrome, served: Server
) -> None:
    corrections.write(served.file, [Correction(NAMES[0], "keep")])
    browser.get(served.url)
    wait(browser, lambda: heading(browser) == "near duplicate")
    kinds = Select(browser.find_element(By.ID, "kind"))
    assert [option.text for option in kinds.options][:3] == [
        "all (4)", "suspect label (1)", "near duplicate (1)",
    ]  # fmt: skip
    kinds.select_by_visible_text("too dark (1)")
    assert heading(browser) == "too dark"
    browser.find_element(By.CSS_SELECTOR, "[data-action=keep]").click()
    wait(browser, lambda: NAMES[3] in corrections.read(served.file))
    assert "2 of 4 faults decided" in browser.find_element(By.ID, "where").text


def test_what_is_not_saved_is_told(page: webdriver.Chrome, served: Server) -> None:
    served.file.mkdir()
    press(page, "k")
    status = page.find_element(By.ID, "status")
    wait(page, lambda: "It isn't saved" in status.text)
    page.find_element(By.ID, "open").click()
    assert "0 of 4 faults decided" in page.find_element(By.ID, "where").text


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_it_fits_wide_and_narrow_windows(
    page: webdriver.Chrome, width: int, scheme: str, tmp_path: Path
) -> None:
    show_as(page, width, scheme)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(250, 249, 247)", "dark": "rgb(23, 23, 22)"}[scheme]
    images = page.find_elements(By.CSS_SELECTOR, "#pictures img")
    wait(page, lambda: all(image.size["width"] >= 96 for image in images))
    unlabelled = "[...document.querySelectorAll('input, select')].filter(e => !e.labels.length)"
    assert page.execute_script(f"return {unlabelled}.length") == 0
