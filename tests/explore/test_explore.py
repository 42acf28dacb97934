"""Exploration: walks, traversals, planes and attribute arithmetic, on networks whose results are known."""

from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.data import Dataset, from_array
from ganvas.distributions.posteriors import DiagonalGaussian
from ganvas.errors import UserError
from ganvas.explore import (
    attribute_direction,
    interpolate,
    latent_scatter,
    lerp,
    measure_usage,
    normal_quantiles,
    slerp,
)
from ganvas.inference.loading import load_preprocessed
from ganvas.inference.trained import Trained
from tests.support.models import MODELS, small

SCALES = (0.9, 0.1, 0.5, 0.01)
"""standard deviations of the posterior: dimension 3 has the largest KL, then 1, 2, 0"""


class Means(nn.Module):
    """q(z|x) = N(x, diag(SCALES^2)), so that the code is the example."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(SCALES))

    def forward(self, x: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(x, self.scale.expand_as(x))


class Same(nn.Module):
    """E[x|z] = z."""

    def forward(self, z: Tensor) -> SimpleNamespace:
        return SimpleNamespace(mean=z)


@pytest.fixture
def known() -> Trained:
    """A VAE of vectors whose encoder and decoder leave them as they are."""
    nets = nn.ModuleDict({"encoder": Means(), "decoder": Same()})
    return Trained(ganvas.VAE(latent=4), (4,), nets)


@pytest.fixture
def clusters() -> Dataset:
    """Vectors of four numbers around a different place for each of two classes; dimension 2 varies most."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    places = np.array([[0.1, 0.0, 0.2, 0.0], [0.0, 0.3, 0.0, -0.1]])
    x = places[labels] + random.normal(size=(60, 4)) * [0.1, 0.2, 0.5, 0.05]
    return from_array(x.astype(np.float32), labels, classes=("left", "right"), name="clusters")


def test_lines_and_arcs_have_the_right_ends_and_lengths() -> None:
    a, b = torch.randn(3, 50), torch.randn(3, 50)
    for walk in (lerp(a, b, 7), slerp(a, b, 7)):
        torch.testing.assert_close(walk[:, 0], a, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(walk[:, -1], b, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(lerp(a, b, 3)[:, 1], (a + b) / 2)
    unit = slerp(a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True), 9)
    torch.testing.assert_close(unit.norm(dim=2), torch.ones(3, 9), rtol=1e-4, atol=1e-4)


def test_arcs_between_equal_and_opposite_ends_are_finite() -> None:
    a = torch.randn(1, 5)
    assert slerp(a, a, 4).isfinite().all()
    assert slerp(a, -a, 4).isfinite().all()


def test_walks_between_noise_and_between_examples(images: Dataset) -> None:
    vae = ganvas.train(small(MODELS["vae"]), images, steps=2, batch_size=8, quiet=True)
    walk = interpolate(vae, rows=3, columns=5)
    assert walk.x.shape == (15, 3, 12, 10)
    assert walk.columns == 5
    between = interpolate(vae, rows=2, columns=4, data=images)
    assert between.x.shape == (8, 3, 12, 10)
    with pytest.raises(UserError, match="40 examples, but 30 rows need 60"):
        interpolate(vae, rows=30, columns=4, data=images)
    with pytest.raises(UserError, match="columns=1"):
        interpolate(vae, rows=3, columns=1)
    with pytest.raises(UserError, match="rows=0"):
        interpolate(vae, rows=0, columns=3)
    with pytest.raises(UserError, match="label=3: this vae was trained without labels"):
        interpolate(vae, rows=2, columns=3, label=3)
    gan = ganvas.train(small(MODELS["gan"]), images, steps=2, batch_size=8, quiet=True)
    assert interpolate(gan, rows=2, columns=3).x.shape == (6, 3, 12, 10)
    with pytest.raises(UserError, match="gan has no encoder"):
        interpolate(gan, rows=2, columns=3, data=images)


def test_a_walk_takes_the_path_that_is_asked_for(known: Trained, clusters: Dataset) -> None:
    for data, default in ((None, "spherical"), (clusters, "linear")):
        made = {
            path: interpolate(known, rows=3, columns=5, interpolation=path, data=data).x
            for path in ("linear", "spherical")
        }
        ends = made["linear"].unflatten(0, (3, 5))[:, [0, -1]].unbind(1)
        torch.testing.assert_close(made["linear"], lerp(*ends, 5).flatten(0, 1))
        torch.testing.assert_close(made["spherical"], slerp(*ends, 5).flatten(0, 1), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(made["linear"], made["spherical"], atol=1e-3)
        assert torch.equal(interpolate(known, rows=3, columns=5, data=data).x, made[default])


def test_walks_go_between_draws_of_the_prior_that_samples_come_from(known: Trained, clusters: Dataset) -> None:
    fitted = known.fit_prior(clusters, kinds=["gaussian"])
    assert fitted.default_prior == "gaussian"
    walk, standard = (interpolate(fitted, rows=200, columns=3, fitted_prior=kind).x for kind in (None, "standard"))
    assert torch.equal(walk, interpolate(fitted, rows=200, columns=3, interpolation="linear").x)
    assert torch.equal(standard, interpolate(known, rows=200, columns=3).x)
    expected = (clusters.x.var(0) + torch.tensor(SCALES).square()).sqrt()  # of z ~ q(z|x)
    torch.testing.assert_close(walk[::3].std(0), expected, rtol=0.2, atol=0.05)
    with pytest.raises(UserError, match="no prior was fitted"):
        interpolate(known, rows=2, fitted_prior="best")
    with pytest.raises(UserError, match="walks are between examples"):
        interpolate(fitted, clusters, rows=2, fitted_prior="gaussian")


def test_dimensions_are_sorted_by_their_divergence(known: Trained, clusters: Dataset) -> None:
    used = measure_usage(known, clusters)
    scale = np.array(SCALES)
    expected = 0.5 * (clusters.x.numpy() ** 2 + scale**2 - 1 - np.log(scale**2)).mean(0)
    np.testing.assert_allclose(used.weight.numpy(), expected, rtol=1e-4)
    assert used.order == np.argsort(-expected).tolist() == [3, 1, 2, 0]
    walk = ganvas.traverse(known, rows=3, data=clusters)
    assert [fact["dimension"] for fact in walk.metadata["dimensions"]] == [3, 1, 2]
    assert walk.metadata["dimensions"][0]["kl"] == pytest.approx(expected[3], rel=1e-4)
    assert [row[:4] for row in walk.row_labels] == ["z[3]", "z[1]", "z[2]"]


def test_a_row_of_a_traversal_changes_one_dimension_from_minus_3_to_3(known: Trained, clusters: Dataset) -> None:
    walk = ganvas.traverse(known, rows=10, columns=7, example=5, data=clusters).x.unflatten(0, (4, 7))
    for row, j in zip(walk, (3, 1, 2, 0), strict=True):
        torch.testing.assert_close(row[:, j], torch.linspace(-3, 3, 7))
        others = [i for i in range(4) if i != j]
        assert torch.equal(row[:, others], clusters.x[5, others].expand(7, -1))


def test_an_autoencoder_is_traversed_in_units_of_its_codes(clusters: Dataset) -> None:
    nets = nn.ModuleDict({"encoder": nn.Linear(4, 4), "decoder": nn.Identity()})
    nets.encoder.weight.data, nets.encoder.bias.data = torch.eye(4), torch.zeros(4)  # type: ignore[union-attr]
    plain = Trained(ganvas.Autoencoder(latent=4), (4,), nets)
    x = clusters.x
    walk = ganvas.traverse(plain, rows=2, columns=3, data=clusters)
    assert (
        [fact["dimension"] for fact in walk.metadata["dimensions"]] == [2, 1] == x.var(0).argsort().flip(0)[:2].tolist()
    )
    assert walk.metadata["dimensions"][0]["variance"] == pytest.approx(x.var(0)[2].item(), rel=1e-4)
    ends = torch.stack([x.mean(0) - 3 * x.std(0), x.mean(0), x.mean(0) + 3 * x.std(0)])
    torch.testing.assert_close(walk.x[:3, 2], ends[:, 2])
    torch.testing.assert_close(walk.x[3:, 1], ends[:, 1])
    sheet = ganvas.manifold(plain, side=3, data=clusters).x
    torch.testing.assert_close(sheet[4], x.mean(0))
    torch.testing.assert_close(sheet[:, [0, 3]], x.mean(0)[[0, 3]].expand(9, 2))
    with pytest.raises(UserError, match="where the codes of this autoencoder lie can only be seen from examples"):
        ganvas.traverse(plain)


def test_a_manifold_is_a_plane_at_the_priors_quantiles(known: Trained, clusters: Dataset) -> None:
    expected = [NormalDist().inv_cdf(p) for p in (0.1, 0.3, 0.5, 0.7, 0.9)]
    np.testing.assert_allclose(normal_quantiles(5).numpy(), expected, atol=1e-6)
    sheet = ganvas.manifold(known, side=5, data=clusters)
    x = sheet.x.unflatten(0, (5, 5)).numpy()
    assert (sheet.columns, sheet.metadata["across"]["dimension"], sheet.metadata["up"]["dimension"]) == (5, 1, 3)
    for i in range(5):
        np.testing.assert_allclose(x[i, :, 1], expected, atol=1e-6)  # across
        np.testing.assert_allclose(x[:, i, 3], expected[::-1], atol=1e-6)  # up: the largest on top
    assert not x[:, :, [0, 2]].any()
    assert "the other 2 at 0" in sheet.title


def test_codes_are_shown_in_the_plane_of_the_manifold(known: Trained, clusters: Dataset) -> None:
    shown = latent_scatter(known, clusters)
    assert shown.labels is not None
    assert shown.row_labels == ("left", "right")
    assert sorted(map(tuple, shown.x.tolist())) == sorted(map(tuple, clusters.x[:, [1, 3]].tolist()))
    for point, label in zip(shown.x, shown.labels, strict=True):
        assert (clusters.x[clusters.labels == label][:, [1, 3]] == point).all(1).any()
    with pytest.raises(UserError, match="give some whose codes are to be shown"):
        latent_scatter(known)


def test_what_is_seen_without_examples(known: Trained, images: Dataset, clusters: Dataset) -> None:
    walk = ganvas.traverse(known, columns=3)
    assert [fact["dimension"] for fact in walk.metadata["dimensions"]] == [0, 1, 2, 3]
    torch.testing.assert_close(walk.x[0], torch.tensor([-3.0, 0, 0, 0]))
    assert not walk.x[1].any()
    assert ganvas.manifold(known, side=3).metadata["across"] == {"dimension": 0}
    gan = ganvas.train(small(MODELS["gan"]), images, steps=1, batch_size=8, quiet=True)
    assert ganvas.manifold(gan, side=3).x.shape == (9, 3, 12, 10)
    for explore in (
        lambda: ganvas.traverse(gan),
        lambda: latent_scatter(gan),
        lambda: ganvas.arithmetic(gan, images, "0", "1"),
    ):
        with pytest.raises(UserError, match="gan has no encoder"):
            explore()
    with pytest.raises(UserError, match="example=60: clusters has the examples 0 to 59"):
        ganvas.traverse(known, example=60, data=clusters)
    with pytest.raises(UserError, match="clusters has one example"):
        ganvas.traverse(known, data=clusters.select([0]))
    line = ganvas.train(small(MODELS["vae"], latent=1), images, steps=1, batch_size=8, quiet=True)
    with pytest.raises(UserError, match="a plane needs two latent dimensions"):
        ganvas.manifold(line, side=3)


def test_arithmetic_adds_the_difference_of_the_classes_means(known: Trained, clusters: Dataset) -> None:
    assert clusters.labels is not None
    left, right = (clusters.x[clusters.labels == c] for c in (0, 1))
    change = left.mean(0) - right.mean(0)
    torch.testing.assert_close(attribute_direction(known, clusters, "left", "right"), change)
    made = ganvas.arithmetic(known, clusters, "left", "right", rows=3, columns=4, strength=2.0)
    assert made.metadata["strengths"] == [0, 0.5, 1, 1.5, 2]
    rows = made.x.unflatten(0, (3, 5))
    for row, example in zip(rows, right, strict=False):
        for x, s in zip(row, (0, 0.5, 1, 1.5, 2), strict=True):
            torch.testing.assert_close(x, example + s * change)
    other = ganvas.arithmetic(known, clusters, "left", "right", on="left", rows=1, columns=1, strength=1.0)
    torch.testing.assert_close(other.x, torch.stack([left[0], left[0] + change]))


def test_arithmetic_says_what_it_needs(known: Trained, clusters: Dataset) -> None:
    with pytest.raises(UserError, match=r'no class "rihgt". Did you mean "right"\?'):
        ganvas.arithmetic(known, clusters, "left", "rihgt")
    with pytest.raises(UserError, match='no class "up"'):
        ganvas.arithmetic(known, clusters, "left", "right", on="up")
    with pytest.raises(UserError, match="add and subtract are both left"):
        ganvas.arithmetic(known, clusters, "left", "left")
    with pytest.raises(UserError, match="clusters has no labels to take classes from"):
        ganvas.arithmetic(known, replace(clusters, labels=None, classes=()), "left", "right")
    with pytest.raises(UserError, match="strength=nan"):
        ganvas.arithmetic(known, clusters, "left", "right", strength=float("nan"))


def test_rows_of_pictures_begin_with_the_example_and_its_reconstruction(images: Dataset) -> None:
    vae = ganvas.train(small(MODELS["vae"]), images, steps=2, batch_size=8, quiet=True)
    made = ganvas.arithmetic(vae, images, "1", "2", rows=2, columns=3)
    assert images.labels is not None
    shown = images.select(images.labels == 2).select(slice(2))
    assert (made.columns, len(made), made.column_labels[:2]) == (5, 10, ("example", "s = 0"))
    assert torch.equal(made.x[0::5], shown.x)
    assert torch.equal(made.x[1::5], vae.reconstruct(shown).x)


def test_a_conditional_model_shows_the_class_that_is_asked_for(images: Dataset) -> None:
    vae = ganvas.train(small(MODELS["vae"], conditional=True), images, steps=2, batch_size=8, quiet=True)
    random = torch.Generator().manual_seed(0)
    z = torch.randn(1, 6, generator=random)

    def of(label: int, z: Tensor = z) -> Tensor:
        return vae.decode(z, torch.tensor([label])).x[0]

    centre = torch.zeros(1, 6)
    for label in (None, "3"):
        sheet = ganvas.manifold(vae, side=1, label=label, data=images)
        assert torch.equal(sheet.x[0], of(int(label or 0), centre))
        assert sheet.title.endswith(f"class {label or 0}")
    turns, alone = interpolate(vae, rows=3, columns=2), interpolate(vae, rows=3, columns=2, label="4")
    assert not torch.equal(turns.x, alone.x)
    picked = images.select(slice(2))
    ends = interpolate(vae, rows=1, columns=4, data=picked)
    rebuilt = vae.reconstruct(picked).x
    assert sorted([ends.x[0].sum().item(), ends.x[-1].sum().item()]) == sorted(r.sum().item() for r in rebuilt)
    assert ganvas.traverse(vae, rows=2, columns=3, data=images).x.shape == (6, 3, 12, 10)
    assert len(ganvas.arithmetic(vae, images, "1", "2", rows=2, columns=3)) == 10
    with pytest.raises(UserError, match="there is no class '9'"):
        ganvas.manifold(vae, side=2, label="9", data=images)
    with pytest.raises(UserError, match="label=3: the examples' own labels are used"):
        interpolate(vae, rows=1, columns=2, label="3", data=images)


@pytest.mark.parametrize(
    "fields",
    [
        {"posterior": "iaf"},
        {"prior": "vamp", "pseudo_inputs": 5},
        {"net": "spatial"},
        {"binarize": "static", "likelihood": "bernoulli"},
    ],
)
def test_every_kind_of_vae_is_explored(fields: dict[str, Any], images: Dataset) -> None:
    model = small(MODELS["vae"], latent=3, **fields)
    vae = ganvas.train(model, images, steps=2, batch_size=8, quiet=True)
    walk = ganvas.traverse(vae, rows=2, columns=3, data=images)
    assert torch.equal(walk.x, ganvas.traverse(vae, rows=2, columns=3, data=images).x)
    name = "variance" if model.prior == "vamp" else "kl"  # the KL to a mixture does not come apart
    weights = [fact[name] for fact in walk.metadata["dimensions"]]
    assert weights == sorted(weights, reverse=True)
    assert ganvas.manifold(vae, side=2, data=images).x.shape == (4, 3, 12, 10)


def test_what_a_run_was_trained_on_is_read_again(folder: Path) -> None:
    vae = ganvas.train(small(MODELS["vae"]), folder, classes="cat", size=12, steps=2, batch_size=4, quiet=True)
    again, given = (
        ganvas.traverse(vae),
        ganvas.traverse(vae, data=folder, options=ganvas.DataOptions(classes="cat", size=12)),
    )
    assert torch.equal(again.x, given.x)
    folder.rename(folder.with_name("gone"))
    with pytest.raises(
        UserError, match=r"cannot read again what .* was trained on: no data .*; if the data have moved"
    ):
        ganvas.traverse(vae)


def test_images_get_the_runs_own_size_and_channels(folder: Path) -> None:
    vae = ganvas.train(small(MODELS["vae"]), folder, size=12, channels=1, steps=2, batch_size=4, quiet=True)
    other = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), np.uint8)
    np.save("other.npy", other)
    for source in (folder, str(folder), "other.npy", "emoji"):
        assert load_preprocessed(vae, source).shape == (1, 12, 12)
    asked = ganvas.DataOptions(size="12", channels=1)
    assert torch.equal(vae.reconstruct(folder).x, vae.reconstruct(folder, asked).x)
    with pytest.raises(UserError, match="examples of 1x16x16, but this model was trained on 1x12x12"):
        load_preprocessed(vae, folder, ganvas.DataOptions(size="16"))
    with pytest.raises(UserError, match="examples of 3x20x20"):  # an array is taken as it is
        load_preprocessed(vae, other)
    np.save("points.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(UserError, match="points has examples of 2, but this model was trained on 1x12x12"):
        load_preprocessed(vae, "points.npy")
