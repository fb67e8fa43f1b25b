import json
from datetime import datetime
from pathlib import Path

from tests.conftest import python

CODE = """
import logging, sys
from darkroom.serving import logs
logs.begin(sys.stdout)
logging.getLogger("darkroom").info("two %s", "lines\\nof it")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("serving").exception("it failed")
logging.debug("unsaid")
"""


def test_lines_are_for_people_by_default(tmp_path: Path) -> None:
    said = python("-c", CODE, cwd=tmp_path).stdout
    assert "INFO two lines\nof it" in said
    assert "ERROR it failed\nTraceback" in said
    assert "unsaid" not in said


def test_a_client_writes_no_lines_of_its_own(tmp_path: Path) -> None:
    code = CODE.replace("sys.stdout)", "sys.stdout, one_line=True)")
    said = python("-c", code, cwd=tmp_path).stdout
    assert r"INFO two lines\nof it" in said
    assert "ERROR it failed\nTraceback" in said


def test_json_is_a_line_for_each_record(tmp_path: Path) -> None:
    said = python("-c", CODE, cwd=tmp_path, DARKROOM_LOG_FORMAT="json").stdout
    info, error = map(json.loads, said.splitlines())
    assert datetime.fromisoformat(info.pop("timestamp")).tzinfo is not None
    assert info == {"level": "INFO", "logger": "darkroom", "message": "two lines\nof it"}
    assert (error["level"], error["logger"], error["message"]) == ("ERROR", "serving", "it failed")
    assert error["exc_info"].endswith("ZeroDivisionError: division by zero")


def test_another_form_is_told_at_once(tmp_path: Path) -> None:
    words = ["-m", "darkroom", "run", "--set", f"root={tmp_path}"]
    result = python(*words, cwd=tmp_path, DARKROOM_LOG_FORMAT="xml")
    assert result.returncode == 1
    said = "darkroom: DARKROOM_LOG_FORMAT: expected text or json, found 'xml'.\n"
    assert result.stdout == said
    words = ["-m", "darkroom.serving.model_server", "--model_base_path=/nowhere", "--port=0"]
    result = python(*words, cwd=tmp_path, DARKROOM_LOG_FORMAT="xml")
    assert result.returncode == 1
    assert result.stdout == said.replace("darkroom: ", "model_server: ")


def test_it_is_light(tmp_path: Path) -> None:
    code = (
        "import sys, darkroom.serving.logs; print({'pythonjsonlogger', 'numpy'} & {*sys.modules})"
    )
    assert python("-c", code, cwd=tmp_path).stdout == "set()\n"
