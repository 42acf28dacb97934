"""`ganvas evaluate` and `ganvas report` of a run of a table."""

from pathlib import Path

import numpy as np
import pytest

import ganvas
from ganvas.cli.app import main
from ganvas.data.tables.columns import Column
from ganvas.data.tables.frame import round_rows
from ganvas.errors import UserError
from ganvas.evaluation import evaluate
from ganvas.evaluation.tables.run import evaluate_run, real_rows
from ganvas.inference.trained import Trained
from tests.support.cli import told

pytest.importorskip("sklearn")
pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.usefixtures("few_trees")


@pytest.fixture(scope="module")
def run(few_trees: None, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    random = np.random.default_rng(0)
    income = random.choice(["low", "high"], 300, p=[0.7, 0.3])
    age = random.normal(np.where(income == "high", 50, 35), 5).round().astype(int)
    folder = tmp_path_factory.mktemp("table")
    pd.DataFrame({"age": age, "income": income, "city": random.choice(list("xyz"), 300)}).to_csv(folder / "a.csv")
    return ganvas.train(
        ganvas.VAE(width=16, latent=2), folder / "a.csv", folder=folder / "run", steps=20, batch_size=50, quiet=True,
        report="off",
    )  # fmt: skip


def test_evaluate_measures_rows_against_held_out_ones(run: Trained) -> None:
    values = evaluate(run, metrics=["table"], target="income")
    table = values["table"]
    assert table["usefulness"]["target"] == "income"
    assert table["rows"]["training"] == table["rows"]["synthetic"] > table["rows"]["held_out"] >= 20
    assert table["verdict"]["sign"] in ("none", "weak")
    assert "elbo" not in values


def test_one_page_shows_the_verdict(run: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.folder is not None
    page = tmp_path / "page.html"
    result = told(capsys, "report", str(run.folder), "--evaluate", "--out", str(page), "--quiet")
    text = page.read_text()
    assert "Whether it may be shared" in text
    assert "What it may be used for" in text
    assert any("what is given away" in line for line in result["runs"][0]["evaluation"])


@pytest.mark.usefixtures("real_pages")
def test_a_run_ends_with_a_verdict_by_some_rows(
    run: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ganvas.cli.report.VERDICT_ROWS", 60)
    assert run.training_data is not None
    source, folder = str(run.training_data.source), Path("run")
    words = ("--steps", "2", "--batch-size", "50", "--width", "4", "--latent", "2")
    assert main(["train", "vae", source, "--folder", str(folder), *words]) == 0
    text = (folder / "report.html").read_text()
    assert "Whether it may be shared" in text
    assert "60 training" in text
    assert "No more than 60 of each were looked at; all are by: ganvas report run --evaluate" in text
    assert "note: Usable" in capsys.readouterr().err


def test_training_rows_given_as_data_are_no_held_out_rows(run: Trained) -> None:
    from ganvas.evaluation.held_out import EvaluationData, load_evaluation_data

    on = load_evaluation_data(run, None, None, True)
    assert on.train is not None
    real, held_out = real_rows(run, EvaluationData(on.train, None, "custom"))
    assert len(held_out) == 0
    assert len(real) == len(on.train)


def test_a_target_that_is_not_there_and_one_without_a_table(run: Trained) -> None:
    with pytest.raises(UserError, match="no column 'incme' to predict. Did you mean \"income\""):
        evaluate_run(run, target="incme", n=30)
    with pytest.raises(UserError, match="target=income: columns are predicted"):
        evaluate(run, metrics=["elbo"], target="income")


def test_rows_are_measured_as_they_are_written() -> None:
    x = np.array([1.26, -3.0, np.nan])
    columns = [Column("a", "real", decimals=1, low=0.0, high=9.0), Column("b", "category", categories=("p", "q"))]
    rounded = round_rows(columns, np.stack([x, x], 1))
    assert rounded[:, 0].tolist()[:2] == [1.3, 0.0]
    assert rounded[:, 1].tolist()[:2] == [1.0, 0.0]
