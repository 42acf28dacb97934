"""`ganvas.sklearn`: scikit-learn's own checks, and each method against an independent computation."""

import subprocess
import sys
from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from ganvas.errors import UserError
from ganvas.sklearn import AutoencoderDetector, VAEDensity

RANDOM = np.random.default_rng(0)
FACTOR, MEAN = RANDOM.normal(size=(2, 5)), RANDOM.normal(size=5) * 10
X = MEAN + RANDOM.normal(size=(400, 2)) @ FACTOR + 0.3 * RANDOM.normal(size=(400, 5))
STRANGE = MEAN + 3 * RANDOM.normal(size=(50, 5))


@pytest.fixture
def any_types() -> Iterator[None]:
    """Types are not checked at run time: scikit-learn gives anything to `__init__`, which must not mind."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("any_types")
@parametrize_with_checks([
    AutoencoderDetector(width=16, steps=30), VAEDensity(width=16, steps=30, importance_samples=8),
])  # fmt: skip
def test_scikit_learns_own_checks(estimator: object, check: object) -> None:
    assert callable(check)
    check(estimator)


def test_outliers_have_unlikely_codes_or_are_not_rebuilt() -> None:
    found = AutoencoderDetector(latent=2, random_state=0).fit(X)
    scores = found.score_samples(np.concatenate([X, STRANGE]))
    assert roc_auc_score(np.arange(len(scores)) < len(X), scores) > 0.97
    far = MEAN + 6 * FACTOR.sum(0)  # rebuilt as well as others, but where none are
    off = MEAN + 6 * np.linalg.svd(FACTOR)[2][-1]  # its code is an ordinary one
    assert found.predict(np.stack([far, off])).tolist() == [-1, -1]
    z, u, decoder = found.transform(X), found.standardize(X), found.networks_.requires_grad_(False)["decoder"]
    rows = np.concatenate([z / z.std(0), u - decoder(torch.from_numpy(z))], 1)
    distances = np.sort(cdist(rows, rows), axis=1)[:, 20]  # sqrt(400), besides the row itself
    edges = [np.histogram(column, 10) for column in X.T]
    place = [np.searchsorted(e[1:-1], column, "right") for (_, e), column in zip(edges, X.T, strict=True)]
    rarity = -sum(np.log((n[i] + 0.5) / 405) for (n, _), i in zip(edges, place, strict=True))
    parts = [distances, np.linalg.norm((X - X.mean(0)) / X.std(0), axis=1), rarity]
    scaled = [(s - np.median(s)) / np.subtract(*np.percentile(s, (75, 25))) for s in parts]
    np.testing.assert_allclose(found.score_samples(X), -(scaled[0] + (scaled[1] + scaled[2]) / 4), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.predict(X), np.where(found.decision_function(X) < 0, -1, 1))
    assert (found.predict(X) == -1).sum() == 40
    np.testing.assert_allclose(found.decision_function(X), found.score_samples(X) - found.offset_)
    assert found.transform(X).shape == (400, 2)
    half = AutoencoderDetector(latent=2, contamination=0.5, random_state=0).fit(X)
    assert (half.predict(X) == -1).sum() == 200


def test_outliers_alike_do_not_vouch_for_each_other() -> None:
    """A tenth of the training rows lie in one place, far from the others: to the nearest few they are ordinary."""
    copies = MEAN + 20 + 0.01 * np.random.default_rng(1).normal(size=(15, 5))
    found = AutoencoderDetector(random_state=0).fit(np.concatenate([X, copies]))
    assert (found.predict(copies) == -1).all()


def test_a_code_that_never_varies_says_nothing() -> None:
    found = AutoencoderDetector(steps=1, random_state=0).fit(np.tile(X[:1], (20, 1)))
    assert found.score_samples(X[:1]) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(found.score_samples(X)).all()


def test_numbers_beyond_those_of_a_column_are_rare() -> None:
    """Also where its outermost bin is the most common one, and on either side of a constant."""
    x = np.random.default_rng(0).exponential(size=(200, 3))
    detector = AutoencoderDetector(steps=5, random_state=0).fit(np.column_stack([x, np.full(200, 5.0)]))

    def rarity(*row: float) -> float:
        u = detector.standardize(np.array([row]))
        return float(detector.parts(u, detector.describe(u))[0, 2])

    common = rarity(0.1, 0.1, 0.1, 5)
    assert common < rarity(-1, -1, -1, 5) == rarity(90, 90, 90, 5)
    assert common < rarity(0.1, 0.1, 0.1, 4.5) == rarity(0.1, 0.1, 0.1, 5.5)


def test_many_rows_are_compared_with_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(300, 3))
    whole = AutoencoderDetector(steps=50, random_state=0).fit(x)
    monkeypatch.setattr("ganvas.sklearn.MAX_OTHERS", 100)
    monkeypatch.setattr("ganvas.sklearn.ROWS_AT_ONCE", 7)
    some = AutoencoderDetector(steps=50, random_state=0).fit(x)
    assert (whole.neighbors_.n_samples_fit_, some.neighbors_.n_samples_fit_) == (300, 100)
    assert np.corrcoef(whole.score_samples(x), some.score_samples(x))[0, 1] > 0.9


def test_a_density_is_near_that_of_the_data() -> None:
    """Of a Gaussian, whose entropy a sample of it has on average."""
    found = VAEDensity(latent=2, steps=1500, random_state=0).fit(X)
    truth = multivariate_normal(MEAN, FACTOR.T @ FACTOR + 0.09 * np.eye(5))
    assert found.score(X) == pytest.approx(truth.logpdf(X).mean(), abs=0.5)
    assert found.score(X) == pytest.approx(found.score_samples(X).mean())
    more = found.set_params(importance_samples=500).score(X)
    assert more == pytest.approx(found.set_params(importance_samples=64).score(X), abs=0.2)
    assert np.corrcoef(found.score_samples(STRANGE), truth.logpdf(STRANGE))[0, 1] > 0.8
    samples = found.sample(4000, random_state=1)
    np.testing.assert_allclose(samples.mean(0), X.mean(0), atol=0.4)
    np.testing.assert_allclose(np.cov(samples.T), np.cov(X.T), atol=0.5)
    np.testing.assert_array_equal(samples, found.sample(4000, random_state=1))
    assert not np.array_equal(samples, found.sample(4000, random_state=2))


def test_results_depend_on_random_state_alone() -> None:
    a, b, c = (VAEDensity(steps=20, random_state=seed).fit(X).score_samples(X) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_options_have_effects() -> None:
    fitted = AutoencoderDetector(random_state=0).fit(X)
    assert fitted.n_steps_ == 200
    assert AutoencoderDetector(random_state=0).fit(np.tile(X, (2, 1))).n_steps_ == 400
    assert fitted.transform(X).shape[1] == 2
    digits, _ = load_digits(return_X_y=True)
    assert AutoencoderDetector(steps=3).fit(digits).transform(digits).shape[1] == 32
    n_weights = [
        sum(p.numel() for p in AutoencoderDetector(width=w, steps=1).fit(X).networks_.parameters()) for w in (8, 16)
    ]
    assert n_weights[0] < n_weights[1]


@pytest.mark.parametrize(
    ("estimator", "sentence"),
    [
        (AutoencoderDetector(contamination=0.0), "contamination=0.0 is no share"),
        (AutoencoderDetector(latent=0), "latent=0: give 1 or more"),
        (AutoencoderDetector(steps=-1), "steps=-1: give 1 or more"),
        (VAEDensity(importance_samples=0), "importance_samples=0: give 1 or more"),
    ],
)
def test_bad_parameters_are_refused_by_fit(estimator: AutoencoderDetector, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        estimator.fit(X)


def test_without_scikit_learn_the_package_works_and_this_says_what_to_install() -> None:
    program = """
import sys
sys.modules["sklearn"] = None
import ganvas, ganvas.models, ganvas.training.run
try:
    import ganvas.sklearn
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "ganvas.sklearn needs scikit-learn: pip install 'ganvas[sklearn]'"
