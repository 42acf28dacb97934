"""Starting a run from the page: the form, the command, uploads, sources, reports and costs."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

import ganvas
from ganvas.cli.app import parse_command
from ganvas.errors import UserError
from ganvas.io.run_folder import RunFolder
from ganvas.models import MODELS
from ganvas.studio import form, new_routes, processes, trials, uploads
from ganvas.studio.app import make_app
from ganvas.studio.cards import CARDS
from ganvas.studio.form import check_command, command_text, command_words, form_panels
from ganvas.studio.settings import Settings
from ganvas.studio.sources import allowed_source
from ganvas.web import guard
from tests.support.studio import write_run

HEADERS = {guard.HEADER: "1"}
TINY_RUN: dict[str, Any] = {"steps": 2, "batch_size": 4, "quiet": True}
TINY = {"latent": "2", "width": "4", "steps": "3", "batch_size": "4"}


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(make_app(Settings(tmp_path / "runs", (tmp_path,))), base_url="http://127.0.0.1", headers=HEADERS)


@pytest.fixture
def data(tmp_path: Path) -> str:
    np.savez("x.npz", x=np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8))
    return "x.npz"


def test_every_model_has_a_card_and_a_form() -> None:
    assert list(CARDS) == list(MODELS)
    for name in ("vae", "cut"):
        panels = form_panels(name)
        assert [*panels] == ["Model", "Training", "Data"]
        assert "lr" in {field.name for field in panels["Model"]}
        assert all(field.help for panel in panels.values() for field in panel)


def test_the_form_says_what_help_says() -> None:
    fields = {field.name: field for panel in form_panels("vae").values() for field in panel}
    assert fields["latent"].help.endswith("[more than 0, at most 65536]")
    assert fields["latent"].default == "32, or by the data"
    assert fields["net"].kind == "choice"
    assert fields["net"].choices[:2] == ("auto", "conv")
    assert fields["conditional"].kind == "flag"
    assert (fields["sigma"].kind, fields["sigma"].choices) == ("text", ("learned", "optimal"))
    assert "data_dir" not in fields


OPTIONS = [
    ({"latent": "16"}, "--latent 16", ("model", "latent", 16)),
    ({"betas": "0.5 0.9"}, "--betas 0.5,0.9", ("model", "betas", (0.5, 0.9))),
    ({"conditional": "true"}, "--conditional", ("model", "conditional", True)),
    ({"range": "0 1400"}, "--range 0,1400", ("data_options", "range", "0,1400")),
    ({"range": "-1 1"}, "--range=-1,1", ("data_options", "range", "-1,1")),
    ({"classes": "-a"}, "--classes=-a", ("data_options", "classes", ("-a",))),
    ({"classes": "3 4"}, "--classes '3 4'", ("data_options", "classes", ("3 4",))),
    ({"lr_milestones": "0.5 0.8"}, "--lr-milestones 0.5,0.8", ("train_config", "lr_milestones", (0.5, 0.8))),
    ({"size": "48x64"}, "--size 48x64", ("data_options", "size", "48x64")),
    ({"background": "#ff8000"}, "--background '#ff8000'", ("data_options", "background", "#ff8000")),
    ({"budget": "10m"}, "--budget 10m", ("train_config", "budget", 600.0)),
    ({"clip_grad_norm": ""}, "", ("train_config", "clip_grad_norm", None)),
    ({"lr_milestones": "0.5,0.8"}, "--lr-milestones 0.5,0.8", ("train_config", "lr_milestones", (0.5, 0.8))),
    ({"tf32": "false"}, "--no-tf32", ("train_config", "tf32", False)),
    (
        {"column": "a b:integer\n\n c:ordered=S<M "},
        "--column 'a b:integer' --column 'c:ordered=S<M'",
        ("data_options", "column", ("a b:integer", "c:ordered=S<M")),
    ),
    ({"constraint": "end >= start"}, "--constraint 'end >= start'", ("data_options", "constraint", ("end >= start",))),
    ({"drop": "id,name"}, "--drop id,name", ("data_options", "drop", ("id", "name"))),
]


@pytest.mark.parametrize(("options", "text", "effect"), OPTIONS)
def test_the_command_does_the_same(options: dict[str, str], text: str, effect: tuple[str, str, Any]) -> None:
    words = command_words("vae", ["emoji"], options)
    assert command_text(words) == f"ganvas train vae emoji {text}".strip()
    _, typed = parse_command(shlex.split(command_text(words))[1:])
    typed.apply_defaults()
    group, name, value = effect
    for bound in (check_command(words), typed):
        assert getattr(bound.arguments[group], name) == value


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("vae", {"latent": "-1"}, "--latent must be greater than 0, not '-1'"),
        ("vae", {"latent": "many"}, "must be a whole number"),
        ("vae", {"nothing": "1"}, "vae has no option 'nothing'"),
        ("vae", {"keep": "last"}, "no option 'keep'"),
        ("vea", {}, "there is no model 'vea'. Did you mean"),
        ("vae", {"steps": "--folder=/etc"}, "must be a whole number"),
        ("vae", {"conditional": "True"}, "--conditional is true or false, not 'True'"),
    ],
)
def test_the_errors_are_those_of_the_command_line(model: str, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        check_command(command_words(model, ["emoji"], options))
    assert sentence in str(refused.value)


def test_an_order_is_checked(client: TestClient, data: str) -> None:
    order = {"model": "vae", "sources": [data], "options": TINY}
    command = client.post("/new/check", json=order).json()["command"]
    assert command.startswith("ganvas train vae ")
    assert command.endswith("x.npz --latent 2 --width 4 --steps 3 --batch-size 4")
    for change, sentence in [
        ({"model": ""}, "choose a model"),
        ({"sources": []}, "choose what to train on"),
        ({"sources": [data, data]}, "vae learns from one source"),
        ({"model": "cyclegan", "options": {}}, "cyclegan translates between two sources"),
        ({"sources": ["/etc"]}, "/etc is outside of the studio's data"),
        ({"start_from": "../x"}, "there is no run '../x'"),
    ]:
        assert client.post("/new/check", json=order | change).json()["problem"].startswith(sentence)
        answer = client.post("/new/start", json=order | change)
        assert (answer.status_code, answer.json()["error"].startswith(sentence)) == (422, True)


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("model", "augment", ("shift", "flip")),
        ("model", "augment", ()),  # in place of what it is by the data
        ("data_options", "classes", ("big dog", "cat")),
        ("data_options", "range", "-1,1"),
        ("model", "betas", (0.5, 0.9)),
        ("model", "conditional", True),
    ],
)
def test_a_copy_has_the_value_of_its_run(group: str, name: str, value: Any) -> None:
    bound = check_command(command_words("vae", ["emoji"], {name: new_routes.option_text(value)}))
    assert getattr(bound.arguments[group], name) == value


@pytest.mark.parametrize("name", ["a" * 5000, "\ud800"], ids=["long", "half"])
def test_a_name_that_no_file_can_have_gets_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="name a folder"):
        allowed_source(Settings(tmp_path / "runs", (tmp_path,)), name)


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(["..", "/", "a", "etc", "~", "\0"])).map("".join)))
def test_no_source_is_outside(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "inside"
    folder.mkdir(exist_ok=True)
    try:
        source = allowed_source(Settings(folder / "runs", (folder,)), text)
    except (UserError, ValueError):
        return
    assert source.startswith("hf:") or source in ("emoji",) or Path(source).resolve().is_relative_to(folder.resolve())


def test_a_link_leads_nowhere(tmp_path: Path) -> None:
    Path("link").symlink_to("/etc")
    with pytest.raises(UserError, match="outside"):
        allowed_source(Settings(tmp_path / "runs", (tmp_path,)), "link")


def png(size: int = 8) -> bytes:
    file = BytesIO()
    Image.new("RGB", (size, size), "red").save(file, "PNG")
    return file.getvalue()


def test_files_are_taken(client: TestClient, tmp_path: Path) -> None:
    first = client.post("/uploads?name=a.png", content=png()).json()
    assert Path(first["source"]).read_bytes() == png()
    second = client.post(f"/uploads?name=..%2f..%2fa.png&upload={first['upload']}", content=png(9)).json()
    assert second["upload"] == first["upload"]
    assert sorted(file.name for file in Path(second["source"]).iterdir()) == ["a-2.png", "a.png"]
    assert Path(second["source"]).is_relative_to(tmp_path / "runs" / ".studio" / "uploads")


def test_a_folder_keeps_its_classes(client: TestClient, tmp_path: Path) -> None:
    sent = client.post("/uploads?name=../pets/cat/a.png", content=png()).json()
    for name in ("pets/dog/a.png", "pets/dog/a.png", "pets/../../c/d.png"):
        sent = client.post("/uploads", params={"name": name, "upload": sent["upload"]}, content=png()).json()
    source = Path(sent["source"])
    files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.png"))
    assert (source.name, files) == ("pets", ["c/d.png", "cat/a.png", "dog/a-2.png", "dog/a.png"])
    assert client.post("/uploads?name=pets/cat/b.png", content=b"").status_code == 422
    assert [*(tmp_path / "runs" / ".studio" / "uploads").iterdir()] == [source.parent]


def test_old_uploads_are_removed_unless_somebody_trains_on_them(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "start", lambda *_: "name")
    sources = [client.post("/uploads?name=a.png", content=png()).json()["source"] for _ in range(5)]
    of_run, shown, started, refused, new = sources
    write_run(Path("runs/a"), data={"source": of_run})
    for source, address in ((shown, "check"), (started, "start"), (refused, "check")):
        options = {"latent": "-1"} if source == refused else {}
        client.post(f"/new/{address}", json={"model": "vae", "sources": [source], "options": options})
    mine = Path(of_run).parents[1] / "mine"  # that somebody has put there
    mine.mkdir()
    for folder in (*(Path(source).parent for source in sources if source != new), mine):
        os.utime(folder, (time.time() - 2 * 86_400,) * 2)
    client.post("/uploads?name=b.png", content=png())
    assert mine.exists()
    assert [source for source in sources if not Path(source).exists()] == [refused]


def test_files_of_an_upload_are_counted_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = client.post("/uploads?name=a.png", content=png()).json()
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("files are looked through again"))
    monkeypatch.setattr(uploads, "MAX_TOTAL", 2 * len(png()))
    query = {"name": "b.png", "upload": sent["upload"]}
    assert client.post("/uploads", params=query, content=png()).status_code == 200
    assert "uploads take more than" in client.post("/uploads", params=query, content=b"1").json()["error"]
    monkeypatch.setattr(uploads, "MAX_FILES", 2)
    assert "more than 2 files" in client.post("/uploads", params=query, content=b"1").json()["error"]


def test_bad_uploads_get_a_sentence(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str, content: Any, **query: str) -> tuple[int, str]:
        answer = client.post("/uploads", params={"name": name, **query}, content=content)
        return answer.status_code, answer.json()["error"]

    assert refused("notes.exe", b"x")[1].startswith("notes.exe: send images")
    assert refused("a.png", b"")[1] == "a.png is empty: choose another file"
    assert refused("a.png", b"x", upload="../../etc")[1] == "there is no upload '../../etc'"
    monkeypatch.setattr(guard, "MAX_UPLOAD", 1000)
    assert refused("a.png", bytes(1001))[0] == 413
    assert refused("a.png", iter([bytes(900), bytes(200)]))[0] == 413  # whose size no header says
    monkeypatch.setattr(guard, "MAX_UPLOAD", 2**20)
    monkeypatch.setattr(uploads, "MAX_TOTAL", 100)
    assert "uploads take more than" in refused("a.png", bytes(101))[1]
    assert [*(tmp_path / "runs" / ".studio" / "uploads").iterdir()] == []


def test_a_long_name_is_one_that_files_can_have(client: TestClient) -> None:
    for name in (f"{'ä' * 200}.png", f"a.{'x' * 95}.png"):
        source = Path(client.post("/uploads", params={"name": name}, content=png()).json()["source"])
        assert source.suffix == ".png"
        assert not source.name.startswith(".")


def test_few_contact_sheets_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: list[str], *_: Any) -> tuple[str, int]:
        Path(words[-1]).write_bytes(b"x")
        return "{}", 0

    monkeypatch.setattr(trials, "run_command", run)
    monkeypatch.setattr(trials, "MAX_SHEETS", 2)
    names = [trials.report_on(["emoji"], [], tmp_path / "sheets", lambda: False)["sheet"] for _ in range(3)]
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == names[1:]


def test_a_server_that_ends_waits_for_no_command() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        with pytest.raises(TimeoutError):
            trials.wait(process, 50.0, lambda: True)
        assert process.returncode


def test_the_report_on_data(client: TestClient, data: str) -> None:
    report = client.post("/new/data", json={"sources": [data], "options": {"limit": "10"}}).json()
    assert report["examples"] == 10
    picture = client.get(report["sheet"])
    assert picture.headers["content-type"] == "image/png"
    Path("no.csv").write_text("not\na,table")
    answer = client.post("/new/data", json={"sources": ["no.csv"]})
    assert answer.status_code == 422
    assert "no.csv" in answer.json()["error"]
    assert client.get("/new/sheets/..%2f..%2fx.png").status_code == 404


def test_what_a_run_costs(client: TestClient, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order = {"model": "vae", "sources": [data], "options": TINY | {"steps": "2000"}}
    cost = client.post("/new/cost", json=order).json()
    assert 0 < cost["seconds_per_step"] < 1
    assert 50 < cost["megabytes"] < 5000
    assert "for 2,000 steps" in cost["text"]
    monkeypatch.setattr(trials, "TRIAL_SECONDS", 0.2)
    assert "takes longer than" in client.post("/new/cost", json=order).json()["error"]


@pytest.mark.parametrize(
    ("model", "options", "length"),
    [
        ("vae", {"steps": "2000"}, "for 2,000 steps"),
        ("vae", {}, "for 1,000 steps"),  # of images it trains another number than of vectors
        ("gan", {"steps": " "}, f"for {MODELS['gan'].default_training.steps:,} steps"),
        ("gan", {"epochs": "3"}, "for 1,000 steps"),
        ("gan", {"budget": "10m"}, "about 10 min 00 s"),
    ],
)
def test_what_is_said_of_the_length(
    client: TestClient, model: str, options: dict[str, str], length: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {"seconds_per_step": 0.1, "megabytes": 0.0, "start_seconds": 1.0}
    monkeypatch.setattr(new_routes, "measure_cost", lambda *_: measured)
    cost = client.post("/new/cost", json={"model": model, "sources": ["emoji"], "options": options}).json()
    assert cost["text"].endswith(length)


def test_a_copy_of_a_run(client: TestClient, data: str, tmp_path: Path) -> None:
    ganvas.train(ganvas.VAE(latent=2, width=4), data, folder="runs/first", **TINY_RUN)
    page = client.get("/new?copy=first").text
    assert "&#34;latent&#34;: &#34;2&#34;" in page
    RunFolder("runs/first").write_log([{"step": 1, "seconds": 1.0}, {"step": 11, "seconds": 2.0}])
    assert "40 examples a second here, on x" in client.get("/new").text
    ganvas.train(ganvas.VAE(latent=2, width=4), data, init_from="runs/first", folder="runs/second", **TINY_RUN)
    assert "&#34;start_from&#34;: &#34;first&#34;" in client.get("/new?copy=second").text
    Path("runs/first").rename("elsewhere")
    ganvas.train(ganvas.VAE(latent=2, width=4), data, init_from="elsewhere", folder="runs/third", **TINY_RUN)
    assert "began with the weights of" in client.get("/new?copy=third").json()["error"]
    assert client.get("/new?copy=other", headers={"accept": "text/html"}).status_code == 404


def test_the_page_starts_a_run(client: TestClient, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[list[str]]()
    monkeypatch.setattr(processes, "start", lambda settings, words: started.append(words) or "name")
    answer = client.post("/new/start", json={"model": "gan", "sources": [data], "options": {"steps": "5"}})
    assert answer.json() == {"run": "name", "address": "/runs/name"}
    assert started[0][0] == "gan"
    assert started[0][2:] == ["--steps=5"]


def test_another_site_starts_nothing(client: TestClient, data: str) -> None:
    post: Callable[..., Any] = client.post
    order = {"model": "gan", "sources": [data]}
    assert post("/new/start", json=order, headers={"origin": "http://evil.example"}).status_code == 403
    assert TestClient(client.app, base_url="http://127.0.0.1").post("/new/start", json=order).status_code == 403


def test_the_page_knows_how_much_may_be_sent() -> None:
    script = (Path(form.__file__).parent / "static" / "studio.js").read_text()
    assert f"MAX_UPLOAD = {guard.MAX_UPLOAD // 2**20} * 2 ** 20;" in script
