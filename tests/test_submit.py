"""Submitting, by the real kfp client, to a server on loopback that speaks its protocol."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from darkroom.components.base.errors import DarkroomError
from darkroom.kubeflow import submit
from darkroom.pipeline.platforms import Kubeflow
from tests import test_spec
from tests.conftest import darkroom

API = "/apis/v2beta1"
CELLS = Kubeflow(experiment="cells")


class Handler(BaseHTTPRequestHandler):
    """As much of Kubeflow Pipelines' REST protocol, v2beta1, as a submission needs."""

    asked: ClassVar[list[tuple[str, str, Any]]] = []
    refuse: ClassVar[bool] = False
    token: ClassVar[str] = ""
    moved: ClassVar[str] = ""

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path, None))
        if self.moved:
            self.send_response(302)
            self.send_header("location", self.moved)
            self.end_headers()
        elif self.path == "/other" + API + "/healthz":
            self._answer(404, {})
        elif self.token and self.headers.get("authorization") != f"Bearer {self.token}":
            self._answer(401, {})
        elif self.path.startswith(f"{API}/experiments"):
            self._answer(200, {})
        else:
            self._answer(200, {"multi_user": False})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(("POST", self.path, body))
        kind = self.path.removeprefix(f"{API}/").split("?")[0]
        if self.refuse and kind != "experiments":
            self._answer(400, {"message": "The pipeline spec is no good."})
        elif kind == "experiments":
            self._answer(200, {"experiment_id": "e1", "display_name": body["display_name"]})
        elif kind == "runs":
            self._answer(200, {"run_id": "r1"})
        else:
            self._answer(200, {"recurring_run_id": "j1"})

    def _answer(self, code: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in (("asked", []), ("refuse", False), ("token", ""), ("moved", "")):
        monkeypatch.setattr(Handler, name, value)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump({**test_spec.graph(), "sdkVersion": "tfx-1.16.0"}))
    return path


def posted(kind: str) -> Any:
    [body] = [body for verb, where, body in Handler.asked if verb == "POST" and kind in where]
    return body


def test_a_run(host: str, path: Path) -> None:
    made = submit.submit(path, host, Kubeflow(experiment="cells", service_account="trainer"))
    assert made == ("run", "r1", f"{host}/#/runs/details/r1")
    assert posted("/experiments")["display_name"] == "cells"
    run = posted("/runs")
    assert run["display_name"] == "two"
    assert run["service_account"] == "trainer"
    assert run["experiment_id"] == "e1"
    assert run["pipeline_spec"]["pipelineInfo"]["name"] == "two"


def test_what_only_kubernetes_knows_goes_along(host: str, path: Path) -> None:
    executors = {"exec-a": {"nodeSelector": {"labels": {"pool": "gpu"}}}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    path.write_text(f"{path.read_text()}---\n{yaml.safe_dump(platform)}")
    submit.submit(path, host, CELLS)
    sent = posted("/runs")["pipeline_spec"]
    assert sent["pipeline_spec"]["pipelineInfo"]["name"] == "two"
    assert sent["platform_spec"] == platform


def test_a_recurring_run(host: str, path: Path) -> None:
    made = submit.submit(path, f"{host}/", CELLS, name="nightly", cron="0 0 3 * * *")
    assert made == ("recurring run", "j1", f"{host}/#/recurringrun/details/j1")
    recurring = posted("/recurringruns")
    assert recurring["display_name"] == "nightly"
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert recurring["max_concurrency"] == 1
    assert recurring["no_catchup"] is True


def test_a_token_goes_along(host: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "token", "secret")
    monkeypatch.delenv(submit.TOKEN_VARIABLE, raising=False)
    with pytest.raises(DarkroomError, match=r"wants to know who asks: 401. Set KFP_EXISTING_TOKEN"):
        submit.reach(host)
    monkeypatch.setenv(submit.TOKEN_VARIABLE, "secret")
    submit.reach(host)
    assert submit.submit(path, host, CELLS).id == "r1"


def test_what_the_server_refuses(host: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "refuse", True)
    with pytest.raises(DarkroomError, match=r"refused two: 400 .*The pipeline spec is no good"):
        submit.submit(path, host, CELLS)


def test_a_host_that_is_no_kubeflow_pipelines(host: str) -> None:
    with pytest.raises(DarkroomError, match=r"is not Kubeflow Pipelines: .*healthz answers 404"):
        submit.reach(f"{host}/other")
    with pytest.raises(DarkroomError, match=r"expected http://… or https://…, found nonsense"):
        submit.reach("nonsense")


def test_a_host_that_answers_elsewhere(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secure = host.replace("http://", "https://")
    monkeypatch.setattr(Handler, "moved", f"{secure}{API}/healthz")
    with pytest.raises(DarkroomError, match=f"answers over https alone: take {secure}\\."):
        submit.reach(host)
    monkeypatch.setattr(Handler, "moved", f"{host}/dex/login")
    with pytest.raises(DarkroomError, match="wants to know who asks: 302"):
        submit.reach(host)


def test_the_command_line(host: str, path: Path, tmp_path: Path) -> None:
    words = ("submit", "--host", host, "--spec", str(path), "--recurring", "0 0 3 * * *")
    (tmp_path / "cells.yaml").write_text(
        "name: cells\ndata: {path: images}\n"
        "kubeflow: {experiment: cells, service_account: trainer}\n"
    )
    more = ("--config", "cells.yaml", "--namespace", "team")
    result = darkroom(*words, *more, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert result.stdout == f"recurring run j1\n{host}/#/recurringrun/details/j1\n"
    assert posted("/experiments")["display_name"] == "cells"
    assert posted("/experiments")["namespace"] == "team"
    assert posted("/recurringruns")["service_account"] == "trainer"
    result = darkroom(*words, cwd=tmp_path)
    assert result.returncode == 1
    assert "--spec: name the configuration beside it, with --config" in result.stdout


def test_a_host_that_is_not_reached_before_anything_is_compiled(tmp_path: Path) -> None:
    result = darkroom("submit", "--host", "http://127.0.0.1:9", cwd=tmp_path)
    assert result.returncode == 1
    assert "http://127.0.0.1:9 is not reached: Failed to establish a new conn" in result.stdout
    assert "kubectl port-forward" in result.stdout
    assert len(result.stdout.splitlines()) == 1
