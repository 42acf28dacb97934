"""Who may ask the studio for what."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Request
from fastapi.testclient import TestClient

from ganvas.cli import main
from ganvas.studio.app import make_app
from ganvas.studio.settings import Settings
from ganvas.web import guard
from tests.support.studio import write_run

ADDRESS = "http://127.0.0.1:8323"
OWN_PAGE = {"origin": ADDRESS, "x-ganvas-studio": "1", "sec-fetch-site": "same-origin"}
router = APIRouter()


@router.post("/echo")
@router.post("/uploads/echo")
async def echo(request: Request) -> int:
    """How much was sent."""
    return len(await request.body())


def studio(token: str = "", host: str = "127.0.0.1") -> TestClient:
    """A client of a studio with one run."""
    if not Path("runs/a").exists():
        write_run(Path("runs/a"))
    app = make_app(Settings(Path("runs"), host=host, token=token))
    app.include_router(router)
    return TestClient(app, base_url=ADDRESS, follow_redirects=False)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8323", "127.0.0.1.evil.example", "[::2]", "", "local"])
def test_a_name_that_was_bound_to_this_machine_later_is_refused(host: str) -> None:
    answer = studio().get("/runs", headers={"host": host})
    assert answer.status_code == 403
    assert "open it as 127.0.0.1" in answer.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8323", "[::1]:8323"])
def test_this_machine_is_asked_by_its_own_names(host: str) -> None:
    assert studio().get("/runs", headers={"host": host}).status_code == 200


def test_another_address_of_this_machine_is_its_own_name() -> None:
    client = studio(host="127.0.0.2")
    assert client.get("/runs", headers={"host": "127.0.0.2:8323"}).status_code == 200
    assert client.get("/runs", headers={"host": "127.0.0.3:8323"}).status_code == 403


@pytest.mark.parametrize(("host", "token"), [("0.0.0.0", ""), ("127.0.0.1", "naïve"), ("127.0.0.1", "a\n")])
def test_a_token_that_protects_nothing_is_refused(
    host: str, token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_: None)
    assert main(["studio", "--host", host, "--port", "0", f"--token={token}"]) == 2
    assert capsys.readouterr().err.startswith("ganvas: --token: give letters, digits and signs")


def test_the_address_that_is_said_has_the_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_: None)
    assert main(["studio", "--port", "0", "--token", "a+b&c d"]) == 0
    address = capsys.readouterr().err.split()[4]
    answer = studio("a+b&c d").get(f"/runs{address[address.index('?') :]}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
    assert studio("a+b&c d").get("/runs", headers={"cookie": answer.headers["set-cookie"]}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},  # a form of another site can send no header of its own
        {"origin": "http://evil.example", "x-ganvas-studio": "1"},
        {"origin": "null", "x-ganvas-studio": "1"},
        {"origin": "http://127.0.0.1:1", "x-ganvas-studio": "1"},  # another server of this machine
        {"x-ganvas-studio": "1", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
        {"origin": ADDRESS},
    ],
    ids=str,
)
@pytest.mark.parametrize("address", ["/runs/a/stop", "/runs/a/resume", "/starts/a/cancel", "/starts/a/forget", "/echo"])
def test_another_site_changes_nothing(headers: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.studio import processes

    for name in ("stop", "resume", "cancel", "forget"):
        monkeypatch.setattr(processes, name, lambda *_: pytest.fail("it was done"))
    assert studio().post(address, headers=headers, content=b"x=1").status_code == 403


def test_every_route_that_changes_something_asks_for_the_header() -> None:
    """Also those that are added later: nothing is changed by GET, and all else is refused without the header."""
    app = make_app(Settings(Path("runs")))
    client = TestClient(app, base_url=ADDRESS)
    for route in app.routes:
        for method in getattr(route, "methods", None) or ():
            if method not in ("GET", "HEAD"):
                assert client.request(method, getattr(route, "path", "/")).status_code == 403


def test_another_site_embeds_nothing_and_reads_nothing() -> None:
    client = studio()
    cross = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/runs/a/previews/0.png", headers=cross).status_code == 403
    answer = client.get("/runs", headers=cross | {"sec-fetch-mode": "navigate"})  # a link to it is none
    assert answer.status_code == 200
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers


def test_the_studio_allows_its_own_page() -> None:
    assert studio().post("/echo", headers=OWN_PAGE, content=b"12345").json() == 5


def test_a_token_is_asked_for_and_becomes_a_cookie() -> None:
    client = studio("s3cret", "0.0.0.0")
    assert client.get("/runs").status_code == 401
    assert client.get("/static/studio.js").status_code == 401
    assert client.get("/runs?token=wrong").status_code == 401
    assert client.get("/runs?token=é").status_code == 401
    assert client.get("/runs", headers={"cookie": 'ganvas_token_8323="'}).status_code == 401
    answer = client.get("/runs?token=s3cret&x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?x=1")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    client.cookies.set("ganvas_token_8323", "s3cret")
    assert client.get("/runs").status_code == 200
    assert client.get("/runs", headers={"host": "127.0.0.1:8324"}).status_code == 401
    assert client.get(f"{ADDRESS}//evil.example?token=s3cret").headers["location"] == "/evil.example"


def test_a_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared, compare = list[tuple[Any, Any]](), guard.compare_digest
    monkeypatch.setattr(guard, "compare_digest", lambda *both: compared.append(both) or compare(*both))
    client = studio("s3cret", "0.0.0.0")
    client.get("/runs?token=s3crex")
    client.get("/runs", headers={"cookie": "ganvas_token_8323=x"})
    assert (b"s3crex", b"s3cret") in compared
    assert (b"x", b"s3cret") in compared


def pieces(n: int, size: int = 2**16) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(-(-n // size)):
        yield bytes(size)


@pytest.mark.parametrize(("address", "limit"), [("/echo", guard.MAX_BODY), ("/uploads/echo", guard.MAX_UPLOAD)])
def test_what_is_sent_is_bounded(address: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_UPLOAD", 2 * guard.MAX_BODY)
    limit = min(limit, guard.MAX_UPLOAD)
    client = studio()
    answer = client.post(address, headers=OWN_PAGE | {"content-length": str(limit + 1)}, content=b"")
    assert answer.status_code == 413
    assert client.post(address, headers=OWN_PAGE | {"content-length": "-1"}, content=b"").status_code == 413
    assert client.post(address, headers=OWN_PAGE, content=bytes(limit)).json() == limit
    answer = client.post(address, headers=OWN_PAGE, content=pieces(limit + 2**16))
    assert answer.status_code == 413
    assert f"larger than {limit // 2**20} MB" in answer.json()["error"]


@pytest.mark.parametrize("address", ["/new/check", "/lecture/game/record"])
def test_values_of_no_known_size_are_bounded(address: str) -> None:
    """Where the application would say that it cannot read them."""
    answer = studio().post(address, headers=OWN_PAGE | {"content-type": "application/json"}, content=pieces(2**21))
    assert (answer.status_code, answer.json()["error"][:38]) == (413, "what was sent is larger than 1 MB: nam")


def test_two_studios_of_a_host_have_a_cookie_each() -> None:
    client = studio("s3cret", "0.0.0.0")
    for port in ("8323", "8324"):
        cookie = client.get("/runs?token=s3cret", headers={"host": f"127.0.0.1:{port}"}).headers["set-cookie"]
        assert cookie.startswith(f"ganvas_token_{port}=s3cret;")


def test_a_refusal_is_a_sentence_and_nothing_else() -> None:
    answer = studio().post("/runs/a/stop")
    assert list(json.loads(answer.text)) == ["error"]
