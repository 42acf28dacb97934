"""How sure numbers are: values against their metrics, terms against leaving one out, intervals against repetitions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ganvas.evaluation.compare import RESAMPLES, bootstrap, bootstrap_means
from ganvas.metrics import (
    Score,
    energy_distance,
    frechet_distance,
    kernel_distance,
    memorisation_test,
    mode_coverage,
    one_nn_accuracy,
    precision_recall,
    sliced_wasserstein,
)
from ganvas.metrics.classes import classifier_score, classifier_scores
from ganvas.metrics.copies import duplicate_rate
from ganvas.metrics.modes import mode_scores
from ganvas.metrics.neighbours import build_indexes
from ganvas.metrics.prdc import prdc_scores
from tests.support.scores import all_entries, scores_of

D = 3
CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])


def drawn(n: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed)) * scale + shift


def test_values_are_those_of_the_metrics() -> None:
    real, made, train = drawn(230, 0), drawn(230, 1, 0.8, 0.2), drawn(400, 2)
    found = {name: s.value for name, s in scores_of(real, made, train=train).items()}
    copied = memorisation_test(train, real, made)
    expected = {
        "fid": frechet_distance(real, made), "kid": kernel_distance(real, made).mean().item(),
        "energy": energy_distance(real, made) ** 2, "one_nn_accuracy": sum(one_nn_accuracy(real, made)) / 2,
        "duplicate_rate": duplicate_rate(*build_indexes(real, made)),
        "sliced_wasserstein": sliced_wasserstein(real, made, n_directions=50),
        "nearer_to_training": copied.nearer.value, "memorisation_rate": copied.memorised.value,
        **{name: terms.double().mean().item() for name, terms in precision_recall(real, made)._asdict().items()},
    }  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


def left_out(number: Callable[[Tensor, Tensor], float], real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """The jackknife itself: (n - 1) times what a number loses where one of n examples is left out, moved to mean 0."""
    whole, terms = number(real, made), []
    for i, x in enumerate((real, made)):
        keep = ~torch.eye(len(x), dtype=torch.bool)
        without = [number(x[k], made) if i == 0 else number(real, x[k]) for k in keep]
        terms.append((len(x) - 1) * (whole - torch.tensor(without, dtype=torch.float64)))
    return tuple(t - t.mean() for t in terms)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("number", "of", "tolerance"),
    [
        (frechet_distance, lambda a, b: scores_of(a, b, "fid")["fid"], 0.08),
        (lambda a, b: energy_distance(a, b) ** 2, lambda a, b: scores_of(a, b, "distances")["energy"], 0.02),
        (lambda a, b: sum(x * len(s) for x, s in zip(one_nn_accuracy(a, b), (a, b), strict=True))
         / (len(a) + len(b)), lambda a, b: scores_of(a, b, "one-nn")["one_nn_accuracy"], 0.03),
    ],
    ids=["fid", "energy", "one-nn"],
)  # fmt: skip
def test_terms_are_those_of_leaving_one_out(
    number: Callable[..., float], of: Callable[..., Score], tolerance: float
) -> None:
    real, made = drawn(150, 0), drawn(150, 1, 1.5, 0.5)
    for found, expected in zip(of(real, made).terms, left_out(number, real, made), strict=True):
        assert (found - expected).norm() < tolerance * expected.norm()


def test_terms_of_singular_features_are_finite() -> None:
    """A unit that is never active, and fewer examples than features."""
    real, made = drawn(100, 0), drawn(100, 1, 1.5)
    flat = [torch.cat([x, torch.zeros(len(x), 2), x[:, :1]], 1) for x in (real, made)]
    of_real, of_made = scores_of(*flat, "fid")["fid"].terms
    assert of_real.isfinite().all()
    assert of_made.isfinite().all()
    few = scores_of(torch.randn(8, 20), torch.randn(8, 20), "fid")["fid"]
    assert few.terms[0].isfinite().all()


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.3, 0.4)], ids=["alike", "apart"])
def test_the_error_of_infinitely_many_is_its_deviation_over_repetitions(scale: float, shift: float) -> None:
    """Which is about twice that of the distance itself."""
    values, errors, finite = [], [], []
    for i in range(100):
        real, made = drawn(120, 2 * i), drawn(120, 2 * i + 1, scale, shift)
        infinite = all_entries(real, made, "fid")["fid_infinity"]
        values.append(infinite.value)
        errors.append(infinite.standard_error)
        finite.append(frechet_distance(real, made))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)
    assert np.std(values) > 1.4 * np.std(finite)


def test_terms_of_a_sliced_distance_are_kantorovich_potentials() -> None:
    """In one dimension, all of made above all of real: moving a point by dx changes the distance by dx / n."""
    real, made = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[10.0], [11.0], [13.0]])
    found = scores_of(real, made, "sliced-wasserstein")["sliced_wasserstein"]
    np.testing.assert_allclose(found.terms[1], [10 - 34 / 3, 11 - 34 / 3, 13 - 34 / 3], rtol=1e-6)
    np.testing.assert_allclose(found.terms[0], [1, 0, -1], atol=1e-6)


def test_an_example_that_alone_covers_others_counts_for_them() -> None:
    """Of 8 real points, two clusters of 4; one of 6 generated ones lies in the second cluster."""
    real = torch.cat([torch.arange(4.0), 100 + torch.arange(4.0)])[:, None]
    made = torch.tensor([0.1, 0.6, 1.1, 1.6, 2.1, 101.6])[:, None]
    found = prdc_scores(*build_indexes(real, made, k=2))
    assert found["coverage"].value == 1
    assert found["coverage"].terms[1].argmax() == 5
    assert found["coverage"].terms[1][5] - found["coverage"].terms[1][0] == pytest.approx(4 / 8 * 5)


def test_a_classifiers_score_and_modes() -> None:
    logits = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * 3
    found = classifier_scores(logits, 7)
    assert found.value == pytest.approx(classifier_score(logits).mean().item())
    (whole,), keep = classifier_score(logits, 1).double(), ~torch.eye(500, dtype=torch.bool)
    without = torch.stack([classifier_score(logits[k], 1)[0].double() for k in keep[:40]])
    terms = 499 * (whole - without)
    assert torch.corrcoef(torch.stack([terms, found.terms[1][:40]]))[0, 1] > 0.999
    samples = torch.cat([CENTRES[:1].repeat(6, 1), CENTRES[1:2].repeat(3, 1), CENTRES[2:], CENTRES[:1] + 5])
    scores = mode_scores(samples, CENTRES, 1.0, 4)
    captured, good, kl = mode_coverage(samples, CENTRES, 1.0)
    assert [s.value for s in scores.values()] == [captured, good, kl] == [3, 10 / 11, pytest.approx(kl)]
    alone = scores["modes_captured"].terms[1]
    assert alone.argmax() == 9, "the only sample of its mode"
    assert (alone > 0).sum() == 1
    small = scores["reverse_kl"].terms[1]
    assert small[0] > small[6] > small[9], "more of the frequent mode are worse"


def test_resamples_are_means_with_multinomial_weights() -> None:
    terms = torch.randn(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = bootstrap_means(terms, 0, "x")
    assert found.shape == (RESAMPLES, 2)
    np.testing.assert_allclose(found.std(0), terms.std(0, correction=0) / 40**0.5, rtol=0.08)
    np.testing.assert_allclose(found.mean(0), terms.mean(0), atol=0.02)
    assert torch.equal(found, bootstrap_means(terms, 0, "x"))
    assert not torch.equal(found, bootstrap_means(terms, 1, "x"))


def test_resamples_of_two_models_share_the_real_examples() -> None:
    s = {"x": Score(0.0, lambda: (drawn(50, 0)[:, 0], torch.zeros(50)))}
    assert torch.equal(bootstrap(s, 0, 1)["x"], bootstrap(s, 0, 2)["x"])


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.8, 0.3)], ids=["alike", "apart"])
def test_intervals_hold_the_expected_number_and_two_of_a_kind_do_not_differ(scale: float, shift: float) -> None:
    """40 repetitions of 150 examples: 95% intervals must hold the mean over them in 80% of cases, most do in all.

    Numbers of the rarest 1% are left out, whose threshold is set by two examples.
    """
    n, repeats, train = 150, 40, drawn(400, 10**6)
    values, errors, wrong = [], [], []
    for i in range(repeats):
        real = drawn(n, 3 * i)
        a, b = (scores_of(real, drawn(n, 3 * i + j, scale, shift), train=train) for j in (1, 2))
        values.append([s.value for s in a.values()])
        errors.append([s.error_of_terms() for s in a.values()])
        apart = [((s.terms[0] - t.terms[0]).var() + s.terms[1].var() + t.terms[1].var()) / n
                 for s, t in zip(a.values(), b.values(), strict=True)]  # fmt: skip
        wrong.append(
            [abs(s.value - t.value) > 1.96 * v**0.5 for s, t, v in zip(a.values(), b.values(), apart, strict=True)]
        )
    value, error = torch.tensor(values), torch.tensor(errors)
    held = ((value - value.mean(0)).abs() < 1.96 * error).double().mean(0)
    for name, share, bold in zip(a, held.tolist(), torch.tensor(wrong).double().mean(0).tolist(), strict=True):
        if name not in ("duplicate_rate", "memorisation_rate"):
            assert share > 0.8, name
            assert bold < 0.15, name
