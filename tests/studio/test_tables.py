"""Tables in the studio and on a run's page: rows, marginals, conditions, and which models learn them."""

import io
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
import pandas as pd
from fastapi.testclient import TestClient

import ganvas
from ganvas.data import DataOptions, load
from ganvas.errors import UserError
from ganvas.fields import format_option
from ganvas.models import MODELS
from ganvas.studio import explorer
from ganvas.studio.app import make_app
from ganvas.studio.cards import CARDS
from ganvas.studio.new_routes import describe_columns, refuse_table
from ganvas.studio.settings import Settings
from ganvas.studio.sources import allowed_source
from ganvas.training.report import write_report
from ganvas.web import guard
from tests.support.tables import write_table

HEADERS = {guard.HEADER: "1"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE and a WGAN-GP of a table, each after two steps."""
    folder = tmp_path_factory.mktemp("tables")
    source = write_table(folder / "t.csv")
    tiny = {"steps": 2, "quiet": True, "holdout": 0.0}
    ganvas.train(ganvas.VAE(latent=2, width=4), source, folder=folder / "vae", batch_size=8, **tiny)
    ganvas.train(ganvas.WGANGP(latent=2, width=4, depth=1), source, folder=folder / "wgangp", batch_size=20, **tiny)
    return folder


@pytest.fixture
def client(runs: Path) -> Iterator[TestClient]:
    explorer.explorers.clear()
    yield TestClient(make_app(Settings(runs, (runs,))), base_url="http://127.0.0.1", headers=HEADERS)
    explorer.explorers.clear()


def test_rows_are_the_samples_as_text(client: TestClient, runs: Path) -> None:
    frame = ganvas.load(runs / "vae").sample(5, seed=3)
    file = client.get("/explore/vae/rows.csv?seed=3&n=5")
    assert file.text == frame.to_csv(index=False)
    shown = client.get("/explore/vae/rows?seed=3&n=5").text
    assert "&lt;b&gt;kind&lt;/b&gt;" in shown
    assert "<i>" not in shown
    assert shown.count("<tr>") == 6
    assert client.get("/explore/vae/rows.csv?n=100001").status_code == 422


@pytest.mark.parametrize("name", ["vae", "wgangp"])
def test_rows_have_what_is_given(client: TestClient, name: str) -> None:
    where = {"where:<b>kind</b>": "b&c", "where:flag": "1", "where:amount": " "}
    frame = pd.read_csv(io.StringIO(client.get(f"/explore/{name}/rows.csv?n=9", params={"n": 9, **where}).text))
    assert set(frame["<b>kind</b>"]) == {"b&c"}
    assert set(frame["flag"]) == {1}
    shown = client.get(f"/explore/{name}/rows", params=where).text
    assert "effective sample size" in shown
    assert "--where &#39;&lt;b&gt;kind&lt;/b&gt;=b&amp;c&#39; --where flag=1 --out new.csv" in shown
    for column, value, sentence in (("flag", "2", 'no value "2"'), ("none", "1", 'no column "none"')):
        assert sentence in client.get(f"/explore/{name}/rows", params={f"where:{column}": value}).json()["error"]


@pytest.mark.parametrize("name", ["vae", "wgangp"])
def test_parts_of_a_table(client: TestClient, name: str) -> None:
    page = client.get(f"/explore/{name}").text
    assert "webcam" not in page
    assert 'id="map"' not in page
    parts = ["row?z=0:1.5", "marginals", "strangest-rows", *(["rebuilt"] if name == "vae" else [])]
    for part in parts:
        answer = client.get(f"/explore/{name}/{part}")
        assert answer.status_code == 200, answer.text
        assert "<i>" not in answer.text
    assert client.get(f"/explore/{name}/marginals").text.count("<figure") == 5  # three columns, two matrices
    assert "dimensions 0 to 1" in client.get(f"/explore/{name}/row?z=2:1").json()["error"]
    assert "see /marginals" in client.get(f"/explore/{name}/marginals.png").json()["error"]
    assert 'class="preview of-rows"' in client.get(f"/runs/{name}").text


def test_the_page_of_a_run_has_rows_and_marginals(runs: Path, tmp_path: Path) -> None:
    write_report([runs / "vae"], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "60 rows of 4 columns" in page
    assert "&lt;b&gt;kind" in page
    assert "<i>" not in page
    assert re.search(r"<title>b&amp;c: real 33%, sampled", page)
    assert f"ganvas sample {runs / 'vae'} -n 1000 --out new.csv" in page
    (runs / "vae" / "weights.safetensors").rename(tmp_path / "weights")
    write_report([runs / "vae"], tmp_path / "r.html")
    (tmp_path / "weights").rename(runs / "vae" / "weights.safetensors")
    assert "Sampled rows" not in (tmp_path / "r.html").read_text()


def test_cards_say_which_models_learn_no_tables(runs: Path) -> None:
    data = load(str(runs / "t.csv"), DataOptions()).with_own_encoding()  # type: ignore[attr-defined]
    for name, cls in MODELS.items():
        with pytest.raises(UserError, match="learns no tables") if CARDS[name].no_tables else nullcontext():
            refuse_table(name, [str(runs / "t.csv")], {})
        refuse_table(name, ["emoji"], {})
        if cls.n_domains == 1:
            try:
                cls().validate_data(data)
            except UserError:
                assert CARDS[name].no_tables, name
            else:
                assert not CARDS[name].no_tables, name


def test_a_report_shows_columns_as_text(runs: Path) -> None:
    shown = describe_columns([str(runs / "t.csv")], DataOptions())
    assert "&lt;b&gt;kind&lt;/b&gt;" in shown
    assert "not learnt: samples have new ones" in shown
    assert "0 to 14.75" in shown or "0.25 to 14.75" in shown
    assert describe_columns(["emoji"], DataOptions()) == ""


def test_options_of_several_texts_are_typed_once_for_each() -> None:
    assert format_option(("column", ("a:real", "b,c:date"))) == "--column a:real --column b,c:date"
    assert format_option(("drop", ("a", "b"))) == "--drop a,b"


def test_what_was_sent_is_found_beside_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    settings = Settings(Path("runs"), (Path("data"),))
    client = TestClient(make_app(settings), base_url="http://127.0.0.1", headers=HEADERS)
    sent = client.post("/uploads?name=../a%3Cb%3E.tsv", content=b"a\tb\n1\t2\n").json()["source"]
    assert allowed_source(settings, sent) == str(tmp_path / sent)
    assert Path(sent).name == "a_b_.tsv"
