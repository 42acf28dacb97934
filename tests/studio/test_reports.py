"""The page on a run, and the lecture, as the studio serves them."""

from pathlib import Path

import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from ganvas.studio.app import make_app
from ganvas.studio.settings import Settings
from tests.support.studio import write_run


@pytest.fixture
def client() -> TestClient:
    write_run(Path("runs/a"))
    return TestClient(make_app(Settings(Path("runs"))), base_url="http://127.0.0.1")


def test_a_report_runs_no_script(client: TestClient) -> None:
    assert client.get("/reports/a").status_code == 404
    Path("runs/a/report.html").write_text("<script>alert(1)</script>")
    answer = client.get("/reports/a")
    assert answer.text == "<script>alert(1)</script>"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script" not in policy
    assert client.get("/reports/..%2fa").status_code == 404
    Path("secret.html").write_text("secret")
    Path("runs/a/report.html").unlink()
    Path("runs/a/report.html").symlink_to(Path("secret.html").resolve())
    assert "is a link" in client.get("/reports/a").json()["error"]


def test_the_lecture_is_part_of_it(client: TestClient) -> None:
    assert 'href="/lecture/"' in client.get("/runs").text
    index = client.get("/lecture/")
    assert "algorithm.html" in index.text
    assert 'href="/runs"' in index.text
    assert "script-src 'self' 'unsafe-inline'" in index.headers["content-security-policy"]
