"""Small tables whose right answer is known: what a VAE draws after a few hundred steps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ganvas

pytest.importorskip("pyarrow")
N = 1500


def sample(frame: pd.DataFrame, folder: Path, steps: int = 300, n: int = N, **options: object) -> pd.DataFrame:
    """n rows from a VAE that was trained on all rows of a frame."""
    settings = {"width": 64, "latent": 4, "lr": 5e-3, "depth": 1} | options
    batch = min(250, len(frame))
    run = ganvas.train(
        ganvas.VAE(**settings), frame, folder=folder, steps=steps, batch_size=batch, quiet=True, report="off", holdout=0
    )
    drawn: pd.DataFrame = run.sample(n, seed=1)
    assert list(drawn.columns) == list(frame.columns)
    assert (drawn.dtypes == frame.dtypes).all()
    return drawn


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_xor_of_categories(tmp_path: Path, random: np.random.Generator) -> None:
    a, b = random.choice(["no", "yes"], (2, N))
    drawn = sample(pd.DataFrame({"a": a, "b": b, "c": np.where(a == b, "same", "other")}), tmp_path / "run")
    assert (np.where(drawn["a"] == drawn["b"], "same", "other") == drawn["c"]).mean() > 0.93
    assert abs((drawn["a"] == "yes").mean() - 0.5) < 0.07


def test_a_deterministic_relation(tmp_path: Path, random: np.random.Generator) -> None:
    code = random.integers(0, 5, N)
    drawn = sample(
        pd.DataFrame({"code": code, "price": 10 * code + 5, "name": [f"item {i}" for i in code]}), tmp_path / "run"
    )
    assert (drawn["price"] == 10 * drawn["code"] + 5).mean() > 0.97
    assert (drawn["name"] == [f"item {i}" for i in drawn["code"]]).mean() > 0.97


def test_a_curve_and_a_ring(tmp_path: Path, random: np.random.Generator) -> None:
    t = random.uniform(-1, 1, N)
    curve = pd.DataFrame({"x": t, "y": t**2})
    drawn = sample(curve, tmp_path / "curve", 500, beta=0.1)
    assert np.abs(drawn["y"] - drawn["x"] ** 2).median() < 0.05
    angle = random.uniform(0, 2 * np.pi, N)
    ring = pd.DataFrame({"x": np.cos(angle), "y": np.sin(angle)})
    drawn = sample(ring, tmp_path / "ring", 500, beta=0.1)
    radius = np.hypot(drawn["x"], drawn["y"])
    assert abs(radius.median() - 1) < 0.05
    assert (radius > 0.7).mean() > 0.9


def test_a_heavy_tail_and_zeros_keep_their_quantiles(tmp_path: Path, random: np.random.Generator) -> None:
    tail = np.where(random.random(N) < 0.6, 0.0, random.pareto(1.0, N).round(2) + 1)
    drawn = sample(pd.DataFrame({"gain": tail}), tmp_path / "run", 100)
    assert abs((drawn["gain"] == 0).mean() - (tail == 0).mean()) < 0.06
    positive, real = drawn["gain"][drawn["gain"] > 0], tail[tail > 0]
    assert np.allclose(
        np.log(np.quantile(positive, [0.25, 0.5, 0.9])), np.log(np.quantile(real, [0.25, 0.5, 0.9])), atol=0.3
    )
    assert drawn["gain"].max() <= tail.max()


def test_three_hundred_categories_come_back_at_their_rates(tmp_path: Path, random: np.random.Generator) -> None:
    shares = 1 / np.arange(1, 301)
    names = random.choice([f"c{i:03}" for i in range(300)], N, p=shares / shares.sum())
    frame = pd.DataFrame({"name": names, "number": random.normal(size=N)})
    drawn = sample(frame, tmp_path / "run", 100)
    assert set(drawn["name"]) <= set(names)
    top = pd.Series(names).value_counts()[:5].index
    assert np.allclose(
        [(drawn["name"] == name).mean() for name in top], [(names == name).mean() for name in top], atol=0.05
    )
    rare = set(pd.Series(names).value_counts()[lambda counts: counts < 3].index)
    assert abs(drawn["name"].isin(rare).mean() - np.isin(names, list(rare)).mean()) < 0.05
    assert drawn["name"][drawn["name"].isin(rare)].nunique() > 5


def test_missing_values_depend_on_other_columns_as_they_did(tmp_path: Path, random: np.random.Generator) -> None:
    sick = random.random(N) < 0.3
    value = np.where(random.random(N) < np.where(sick, 0.5, 0.99), np.nan, random.normal(size=N).round(3))
    drawn = sample(pd.DataFrame({"sick": sick, "value": value}), tmp_path / "run", beta=0.1)
    assert np.isnan(value).mean() > 0.8
    assert abs(drawn["value"].isna().mean() - np.isnan(value).mean()) < 0.05
    for is_sick in (False, True):
        mine = drawn["value"].isna()[drawn["sick"] == is_sick].mean()
        assert abs(mine - np.isnan(value[sick == is_sick]).mean()) < 0.1


@pytest.mark.parametrize("frame", [
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), pd.DataFrame({"a": [1, 2, 2, 3, 3, 3, 4, 4]}),
], ids=["two-rows", "one-column"])  # fmt: skip
def test_tiny_tables_are_learnt(frame: pd.DataFrame, tmp_path: Path) -> None:
    drawn = sample(frame, tmp_path / "run", 30, n=50)
    for name in frame:
        assert set(drawn[name]) <= set(frame[name])
