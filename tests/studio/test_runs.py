"""What the studio reads of run folders, whatever is in them, and what it answers."""

import json
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from ganvas.errors import UserError
from ganvas.io.lock import run_lock
from ganvas.studio import logs, runs
from ganvas.studio.app import make_app
from ganvas.studio.runs import Gallery, RunCard, find_folder, read_any_card
from ganvas.studio.settings import Settings
from tests.support.studio import log_line, write_run

RUNS = Path("runs")
HOSTILE = "<img src=x onerror=alert(1)>\"'&{{7*7}}\u202etxt"


@pytest.fixture
def client() -> TestClient:
    return TestClient(make_app(Settings(RUNS)), base_url="http://127.0.0.1", headers={"accept": "text/html"})


def card(name: str) -> RunCard:
    return read_any_card(RUNS / name)


def test_a_card_says_how_far_a_run_is() -> None:
    write_run(RUNS / "a")
    found = card("a")
    assert (found.state, found.model, found.data, found.step, found.steps) == ("stopped", "vae", "emoji", 200, 400)
    assert (found.preview, found.best) == (200, {"metric": "kid", "value": 0.05, "step": 200})
    assert found.speed == pytest.approx(8 * 50)
    assert found.losses == {"reconstruction": 4.5, "kl": 2.99}
    assert found.seconds_left is None
    with run_lock(RUNS / "a", print):
        assert card("a").state == "training"
        assert card("a").seconds_left == pytest.approx(200 / 50)
    (RUNS / "a" / ".lock").write_text(str(os.getpid()))  # of a run that was killed, its number another's by now
    assert card("a").state == "stopped"
    write_run(RUNS / "b", 40)
    assert card("b").state == "ended"


def test_only_runs_that_changed_are_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write_run(RUNS / name)
    gallery, read, real = Gallery(Settings(RUNS)), list[str](), runs.read_card
    monkeypatch.setattr(runs, "read_card", lambda folder: read.append(folder.name) or real(folder))
    gallery.refresh()
    assert sorted(read) == ["a", "b", "c"]
    seen = gallery.version
    gallery.refresh()
    assert gallery.version == seen
    assert gallery.changes(seen) == {"cards": {}, "removed": []}
    read.clear()
    with (RUNS / "b" / "log.jsonl").open("a") as file:
        file.write(json.dumps(log_line(210)) + "\n")
    (RUNS / "c" / "config.json").unlink()
    gallery.refresh()
    assert read == ["b"]
    changes = gallery.changes(seen)
    assert list(changes["cards"]) == ["b"]
    assert "step 210 of 400" in changes["cards"]["b"]
    assert changes["removed"] == ["c"]


def test_a_page_says_of_a_damaged_run_what_is_left(client: TestClient) -> None:
    write_run(RUNS / "damaged")
    (RUNS / "damaged" / "config.json").write_text('{"model": ')
    page = client.get("/runs/damaged")
    assert page.status_code == 200
    assert "is damaged" in page.text
    assert 'data-steps="[0, 100, 200]"' in page.text
    assert len(client.get("/runs/damaged/log").json()["lines"]) == 20
    assert any("config.json: damaged" in line for line in client.get("/runs/damaged/check").json())
    assert "is damaged" in client.get("/runs/damaged/doctor").json()["reason"]
    for i in (1, 2):
        write_run(RUNS / f"whole{i}", fields={"latent": i, "width": 4})
    page = client.get("/compare?run=damaged&run=whole1&run=whole2").text
    assert "is damaged" in page
    assert "<code>--latent</code></th><td></td><td>1</td><td>2</td>" in page
    assert "<details>" not in page  # what is not known of one run is no difference


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3), max_leaves=8,
)  # fmt: skip
KEYS = ("model", "fields", "train_config", "data", "given", "chosen", "changes", "versions", "git", "end_step", "group")


@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4), st.lists(JSON, max_size=3), JSON)
@example({"given": None}, [], None)
@example({"end_step": None, "changes": [{"step": 1}], "git": [1]}, [None, []], {})
def test_no_folder_takes_the_pages_down(changes: dict[str, Any], lines: list[Any], value: Any) -> None:
    shutil.rmtree(RUNS, ignore_errors=True)
    with (write_run(RUNS / "a", 2, **changes) / "log.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in [*lines, log_line(30) | {"samples": value, "kl": value}])
    client = TestClient(make_app(Settings(RUNS)), base_url="http://127.0.0.1", headers={"accept": "text/html"})
    for page in ("/runs", "/runs/a", "/runs/a/log", "/runs/a/doctor", "/compare?run=a"):
        assert client.get(page).status_code == 200


def test_names_and_values_are_text(client: TestClient) -> None:
    data = json.loads((write_run(RUNS / "plain") / "config.json").read_text())["data"]
    write_run(RUNS / HOSTILE.replace("/", ""), data=data | {"name": HOSTILE, "source": HOSTILE, "classes": [HOSTILE]})
    gallery = client.get("/runs").text
    address = next(c for c in gallery.split('href="')[1:] if c.startswith("/runs/%3C")).partition('"')[0]
    for page in (gallery, client.get(address).text, client.get(address.replace("/runs/", "/compare?run=")).text):
        assert "<img src=x" not in page
        assert "onerror=alert(1)&gt;" in page
        assert "{{7*7}}" in page
        assert "\u202etxt</" not in page  # the right-to-left mark is shown, and not obeyed


def test_a_name_that_is_no_text_has_a_page(client: TestClient) -> None:
    write_run(RUNS / "bytes\udcff")
    assert client.get("/runs").status_code == 200
    assert client.get("/runs/bytes%EF%BF%BD").status_code == 200


@pytest.mark.parametrize(
    "address", ["/runs/none", "/nothing", "/runs/a/previews/7.png", "/runs/a/files/.lock", "/runs/a/files/..%2Fx"]
)
def test_what_there_is_not_is_said_in_a_sentence(client: TestClient, address: str) -> None:
    write_run(RUNS / "a")
    page = client.get(address)
    assert page.status_code == 404
    assert "there is no" in page.text or "has no" in page.text
    as_json = client.get(address, headers={"accept": "application/json"})
    assert as_json.status_code == 404
    assert list(as_json.json()) == ["error"]


def test_an_address_with_a_wrong_number_is_said_in_a_sentence(client: TestClient) -> None:
    write_run(RUNS / "a")
    page = client.get("/explore/a/samples.png?seed=-1")
    assert page.status_code == 422
    assert "seed: input should be greater than or equal to 0" in page.text


PARTS = st.sampled_from(["..", ".", "", "/", "\\", "secret", "runs", "a", "%2e%2e", "\0", "~", "link", "*", "a\n"])


@settings(max_examples=20)
@given(
    st.lists(PARTS, min_size=1, max_size=5).flatmap(lambda parts: st.sampled_from("/\\").map(lambda s: s.join(parts))),
    st.sampled_from(["/runs/{}", "/runs/{}/log", "/runs/{}/files/config.json", "/runs/a/files/{}", "/runs/{}/said"]),
    st.sampled_from(["", "/"]),
)
def test_no_path_leads_out_of_the_runs(name: str, address: str, unquoted: str) -> None:
    write_secret()
    client = TestClient(make_app(Settings(RUNS)), base_url="http://127.0.0.1")
    address = address.format(quote(name, safe=unquoted))
    found = client.get(address)
    assert "TOP SECRET" not in found.text
    assert found.status_code < 500
    assert client.post(address, headers={"x-ganvas-studio": "1"}).status_code >= 400
    with pytest.raises(UserError, match="there is no run"):
        find_folder(RUNS, f"../{name}")


def write_secret() -> None:
    """A run, and what it must not lead to: a run elsewhere, and links to that and to its files."""
    if RUNS.exists():
        return
    write_run(RUNS / "a")
    secret = write_run(Path("secret"), model="TOP SECRET")
    (secret / "log.jsonl").write_text(json.dumps(log_line(10) | {"TOP SECRET": 1}) + "\n")
    (RUNS / "link").symlink_to(secret.absolute())
    inner = write_run(RUNS / "inner")
    for name in ("log.jsonl", "config.json"):
        (inner / name).unlink()
        (inner / name).symlink_to((secret / name).absolute())


def test_links_in_a_run_are_not_followed(client: TestClient) -> None:
    write_secret()
    (Path("secret") / "weights.safetensors").write_text("TOP SECRET")
    for name in ("weights.safetensors", "report.html", "previews/0000300.png"):
        (RUNS / "a" / name).symlink_to(Path("secret/weights.safetensors").absolute())
    addresses = ["/runs", *(f"/runs/{run}{end}" for run in ("a", "inner", "link") for end in (
        "", "/log", "/doctor", "/files/config.json", "/files/weights.safetensors", "/previews/300.png",
    )), "/compare?run=a&run=inner", "/reports/a", "/explore/a/samples.png"]  # fmt: skip
    for address in addresses:
        assert "TOP SECRET" not in client.get(address).text, address


def test_a_log_is_sent_as_it_grows() -> None:
    folder = write_run(RUNS / "a", 3)
    log = folder / "log.jsonl"
    start = logs.parse_place(logs.read_curves(folder)["at"])
    text = json.dumps(log_line(40)) + "\n"
    with log.open("a") as file:
        file.write(text + text[:20])  # the second line is still being written
    place, lines = logs.read_since(log, start, logs.log_place(folder))
    assert [line["step"] for line in lines or []] == [40]
    assert place[1] == start[1] + len(text)
    with log.open("a") as file:
        file.write(text[20:])
    assert len(logs.read_since(log, place, logs.log_place(folder))[1] or []) == 1
    content = log.read_text()
    log.unlink()
    log.write_text(content[:100])  # a run that goes on from an earlier checkpoint writes its log anew
    assert logs.read_since(log, place, logs.log_place(folder))[1] is None
    assert logs.parse_place("9" * 60) == logs.parse_place("x-1") == (0, 0)


def test_of_a_long_log_some_lines_are_drawn_and_all_measurements() -> None:
    drawn = logs.thin_out([log_line(10 * i) for i in range(1, 5001)])
    steps = [line["step"] for line in drawn["lines"]]
    assert drawn["every"] == 3
    assert steps[-1] == 50_000
    assert len(steps) < 2500
    assert {*range(100, 50_001, 100)} <= {*steps}
