"""Rows of a table with values that are given, against rejection of what does not have them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import ganvas
from ganvas.data import fit_scaling
from ganvas.data.tables.frame import from_frame
from ganvas.errors import UserError
from ganvas.inference import rows
from ganvas.inference.rows import enforce
from ganvas.inference.sampling import sample_examples
from ganvas.inference.trained import Trained
from ganvas.viz.images import Examples

pytest.importorskip("pyarrow")


def make_frame(n: int = 400) -> pd.DataFrame:
    """Categories that depend on each other, a number that depends on both, days in order."""
    random = np.random.default_rng(0)
    income = random.choice(["<=50K", ">50K"], n, p=[0.8, 0.2])
    sex = np.where(random.random(n) < np.where(income == ">50K", 0.8, 0.5), "Male", "Female")
    age = random.normal(np.where(income == ">50K", 50, 35), 5).round().astype(int)
    start = random.integers(0, 1000, n)
    return pd.DataFrame({
        "age": age, "sex": sex, "income": income, "start": start, "end": start + random.integers(0, 20, n),
    })  # fmt: skip


@pytest.fixture(scope="module", params=["vae", "ctgan"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    model = {"vae": ganvas.VAE(width=32, latent=3, beta=0.3), "ctgan": ganvas.CTGAN(width=32, latent=8, pack=5)}[
        request.param
    ]
    folder = tmp_path_factory.mktemp("run") / request.param
    return ganvas.train(
        model, make_frame(), folder=folder, steps=30, batch_size=50, constraint=["end >= start"], quiet=True,
        report="off",
    )  # fmt: skip


def test_rows_have_the_values_that_are_given(run: Trained) -> None:
    frame = run.sample(50, where={"income": ">50K", "sex": "Female"})
    assert (frame["income"] == ">50K").all()
    assert (frame["sex"] == "Female").all()
    assert list(frame.columns) == list(make_frame().columns)
    assert frame.dtypes["age"] == make_frame().dtypes["age"]
    assert frame.attrs["effective_sample_size"] > 1


def test_the_rest_of_a_row_is_as_likely_as_among_rows_that_happen_to_have_the_values(run: Trained) -> None:
    """Rejection, which is exact, against importance resampling: shares of sex and the mean age, given the income."""
    if isinstance(run.model, ganvas.CTGAN):
        pytest.skip("CTGAN's condition asks for an income: rows that happen to have it are others")
    rejected = sample_examples(run, 20_000, seed=1).frame()
    rejected = rejected[rejected["income"] == ">50K"]
    drawn = run.sample(4000, where={"income": ">50K"}, seed=2)
    error = 4 * (0.25 / len(rejected) + 0.25 / 2000) ** 0.5
    assert abs((rejected["sex"] == "Male").mean() - (drawn["sex"] == "Male").mean()) < error
    spread = rejected["age"].std() * (1 / len(rejected) + 1 / 2000) ** 0.5
    assert abs(rejected["age"].mean() - drawn["age"].mean()) < 4 * spread


def test_balance_gives_each_value_equally_often(run: Trained) -> None:
    assert run.sample(40, balance="income")["income"].value_counts().tolist() == [20, 20]
    both = run.sample(40, balance="income", where={"sex": "Male"})
    assert both["income"].value_counts().tolist() == [20, 20]
    assert (both["sex"] == "Male").all()


def test_rows_are_completed(run: Trained) -> None:
    like = pd.DataFrame({"sex": ["Male", None, "Female"], "age": [30, 40, np.nan]})
    frame = run.sample(like=like)
    assert frame["sex"].tolist()[::2] == ["Male", "Female"]
    assert frame["age"].tolist()[:2] == [30, 40]
    assert frame["income"].isin(["<=50K", ">50K"]).all()
    assert len(frame) == 3


def test_constraints_hold_in_every_row(run: Trained) -> None:
    frame = run.sample(500)
    assert (frame["end"] >= frame["start"]).all()
    bound = run.sample(20, where={"start": 100, "end": 103})
    assert (bound["start"] == 100).all()
    assert (bound["end"] == 103).all()
    after = run.sample(20, where={"start": 100})
    assert (after["end"] >= 100).all()


def test_the_same_seed_gives_the_same_rows_and_the_first_of_more(run: Trained) -> None:
    first, again, more = run.sample(20, seed=3), run.sample(20, seed=3), run.sample(30, seed=3)
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(first, more.iloc[:20])
    assert not first.equals(run.sample(20, seed=4))


def test_a_saved_run_samples_as_before(run: Trained) -> None:
    assert run.folder is not None
    pd.testing.assert_frame_equal(ganvas.load(run.folder).sample(20, seed=3), run.sample(20, seed=3))


@pytest.mark.parametrize(("options", "part"), [
    ({"where": {"incom": ">50K"}}, r'no column "incom"\. Did you mean'),
    ({"where": {"income": ">50k"}}, r'has no value ">50k"\. Did you mean'),
    ({"where": {"age": "old"}}, "age"),
    ({"where": {"end": 7}}, "binds what is given"),
    ({"balance": "age"}, "balance is for categories"),
    ({"n": 3, "like": pd.DataFrame({"age": [3]})}, "leave out n"),
])  # fmt: skip
def test_what_cannot_be_given_is_refused_in_a_sentence(run: Trained, options: dict[str, object], part: str) -> None:
    with pytest.raises(UserError, match=part):
        run.sample(**options)  # type: ignore[arg-type]


def test_only_models_of_tables_are_given_values(tmp_path: Path) -> None:
    run = ganvas.train(ganvas.VAE(width=8, latent=2), torch.randn(50, 3), folder=tmp_path / "run", steps=1, quiet=True)
    with pytest.raises(UserError, match="where is for models of tables"):
        run.sample(3, where={"a": 1})


def test_files_have_what_a_data_frame_has(run: Trained, tmp_path: Path) -> None:
    frame = run.sample(30, seed=3)
    for suffix, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet), (".feather", pd.read_feather)):
        path = tmp_path / f"new{suffix}"
        sample_examples(run, 30, seed=3).save(path)
        pd.testing.assert_frame_equal(read(path).astype(frame.dtypes), frame)
    sample_examples(run, 30, seed=3).save(tmp_path / "new.tsv")
    assert (tmp_path / "new.tsv").read_text().splitlines()[0].split("\t") == list(frame.columns)


@pytest.mark.parametrize(("options", "said"), [
    ({"where": {"age": 200}}, 'where age=200: the column "age" has values from .*, whole numbers: give one of these'),
    ({"where": {"age": 30.5}}, 'where age=30.5: the column "age" has values from .*, whole numbers'),
    ({"where": {"age": None}}, 'no value of the column "age" is missing'),
    ({"where": {"income": ">50K"}, "balance": "income"}, "where gives income one value, and balance all of them"),
    ({"like": pd.DataFrame({"age": [40, 41, 4]})}, 'like, row 3: the column "age" has values from .*: give one of'),
])  # fmt: skip
def test_what_would_come_back_as_something_else_is_refused(run: Trained, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run.sample(**options)


def test_rows_are_not_completed_by_what_is_not_learnt() -> None:
    frame = make_frame(60).assign(customer_id=range(60), source="web")
    trained = ganvas.train(ganvas.VAE(width=8, latent=2), frame, steps=1, batch_size=20, quiet=True, report="off")
    with pytest.raises(UserError, match="identifiers and constants are not learnt, .*: leave out customer_id, source"):
        trained.sample(like=frame[["customer_id", "age", "source"]])


def test_many_different_rows_take_no_larger_pool_of_codes(run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is drawn from a pool as large as it needs alone: one that grows with the rows takes time by their square."""
    sizes, draw_codes = list[int](), Trained.draw_codes
    monkeypatch.setattr(Trained, "draw_codes", lambda self, n, *rest: (sizes.append(n), draw_codes(self, n, *rest))[1])
    monkeypatch.setattr(rows, "POOL_SIZE", 100)
    run.sample(like=pd.DataFrame({"age": np.arange(30, 50).repeat(2)}))
    run.sample(60, where={"sex": "Male"})
    assert sizes == [100, 60 * rows.CODES_PER_ROW]


def test_constraints_hold_of_rows_as_they_are_written() -> None:
    """Times are written in whole minutes: two a few seconds apart are then one."""
    a = pd.date_range("2024-01-01", periods=60, freq="7min")
    table = from_frame(pd.DataFrame({"a": a, "b": a + pd.Timedelta("1min")})).with_own_encoding(("b > a",))
    second = float(table.x[1, 0])
    close, far = [second, second + 20.0], [second, second + 120.0]
    (scaling,) = fit_scaling(table, ganvas.VAE())
    examples = Examples(torch.tensor([close, far], dtype=torch.float64), scaling=scaling)
    made = enforce(examples, lambda index, seed: torch.tensor([far], dtype=torch.float64).expand(len(index), -1), 0)
    assert made.notes == ("1 rows that broke a constraint were drawn anew",)
    assert made.x.tolist() == [far, far]
