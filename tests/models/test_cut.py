"""CUT: PatchNCE against NumPy and closed forms, the step against a slow one, and images of every shape."""

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.data import Dataset
from ganvas.errors import UserError
from ganvas.model import Batch, PairBatch
from ganvas.models import CUT
from ganvas.models.cut import encoder_features, encoder_layers, like_input, random_places, select_places
from ganvas.nn.translators import ResidualBlock, ResnetTranslator
from ganvas.objectives.translation import patch_nce
from tests.support.data import as_pair, image_collection
from tests.support.models import small

STILL: dict[str, Any] = {"enlarge": 1, "flip": False}
"""without random views"""
SHAPES = ((3, 12, 10), (3, 12, 10))


def batch_of(a: tuple[int, ...] = (3, 12, 10), b: tuple[int, ...] = (3, 12, 10), n: int = 2) -> PairBatch:
    return PairBatch(Batch(torch.rand(n, *a) * 2 - 1), Batch(torch.rand(n, *b) * 2 - 1))


def test_patch_nce_is_what_numpy_says() -> None:
    query, key = torch.randn(2, 3, 7, 5)
    q, k = query.double().numpy(), key.double().numpy()
    losses = []
    for image in range(3):
        for s in range(7):
            lengths = np.linalg.norm(q[image, s]) * np.linalg.norm(k[image], axis=1)
            cosines = (k[image] * q[image, s]).sum(1) / lengths
            e = np.exp(cosines / 0.07)
            losses.append(-np.log(e[s] / e.sum()))
    assert patch_nce(query, key, 0.07).item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert patch_nce(3 * query, key / 2, 0.07).item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(("n", "temperature"), [(1, 0.07), (4, 1.0), (6, 0.07)])
def test_patch_nce_in_closed_form(n: int, temperature: float) -> None:
    alike, axes = torch.ones(2, n, 6), torch.eye(6)[:n].expand(2, n, 6)
    assert patch_nce(alike, alike, temperature).item() == pytest.approx(log(n), abs=1e-6)
    told = log(1 + (n - 1) * np.exp(-1 / temperature))
    assert patch_nce(axes, axes, temperature).item() == pytest.approx(told, rel=1e-4, abs=1e-6)
    turned = 1 / temperature + told if n > 1 else 0.0  # each place is taken for the one beside it
    assert patch_nce(axes, axes.roll(1, 1), temperature).item() == pytest.approx(turned, rel=1e-4, abs=1e-6)


def test_patch_nce_is_precise_under_autocast() -> None:
    query, key = torch.randn(2, 2, 9, 8)
    exact = patch_nce(query, key, 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(patch_nce(query, key, 0.07), exact)


def slow_features(G: Any, x: Tensor) -> list[Tensor]:
    """Layers of a translator with five blocks, each from a pass of its own, of images of 12 x 10 pixels."""
    padded = nn.functional.pad(x, (0, 2, 0, 0), mode="replicate")
    wholes = [G.body[:end](padded) for end in (5, 8, 11, 15)]
    return [x, wholes[0][..., :5], *[whole[..., :3] for whole in wholes[1:]]]


def slow_nce(G: Any, H: Any, x: Tensor, fake: Tensor) -> Tensor:
    """Equation 4 over all places, as sums over pairs of them."""
    losses = []
    for mlp, k, q in zip(H.mlps, slow_features(G, x), slow_features(G, fake), strict=True):
        k, q = (nn.functional.normalize(mlp(f.flatten(2).mT), dim=2) for f in (k.detach(), q))  # noqa: PLW2901
        similarities = torch.einsum("bsd,brd->bsr", q, k.detach()) / 0.07
        losses.append(nn.functional.cross_entropy(similarities.mT, torch.arange(q.shape[1]).expand(2, -1)))
    return sum(losses, torch.zeros(())) / len(losses)


def test_the_step_is_that_of_separate_passes() -> None:
    """The same numbers and gradients: of D, then of G and H, for which features of the input are constants."""
    model, batch = CUT(width=4, blocks=5, nce_weight=3, identity_weight=2, **STILL), batch_of()
    nets = {name: net.double() for name, net in model.networks(SHAPES).items()}
    batch = PairBatch(*(Batch(part.x.double()) for part in batch))
    G, D, H = nets["G"], nets["D"], nets["H"]
    x, y = batch.a.x, batch.b.x
    critic = ((D(y) - 1) ** 2).mean() / 2 + (D(G(x).detach()) ** 2).mean() / 2
    fool, nce, identity = ((D(G(x)) - 1) ** 2).mean(), 3 * slow_nce(G, H, x, G(x)), 2 * slow_nce(G, H, y, G(y))
    first, second = model.step(iter([batch]), 0, **nets)
    assert (first.networks, second.networks) == ((D,), (G, H))
    for name, value in (("fool", fool), ("nce", nce), ("identity", identity)):
        assert second.terms[name].item() == pytest.approx(value.item(), rel=1e-9), name
    for move, slow in ((first, critic), (second, fool + nce + identity)):
        weights = [p for net in move.networks for p in net.parameters()]
        got, expected = torch.autograd.grad(move.loss, weights), torch.autograd.grad(slow, weights)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)


def test_one_adam_of_two_networks_is_two() -> None:
    """G and H move together, and as with an optimizer for each: Adam looks at each weight by itself."""
    model, batch = CUT(width=4, blocks=1, **STILL), batch_of()
    nets = model.networks(SHAPES)
    *_, move = model.step(iter([batch]), 0, **nets)
    weights = [p for net in move.networks for p in net.parameters()]
    gradients, results = torch.autograd.grad(move.loss, weights), []
    before = [p.detach().clone() for p in weights]
    for optimizers in ([model.optimizer(*move.networks)], [model.optimizer(net) for net in move.networks]):
        for p, start, gradient in zip(weights, before, gradients, strict=True):
            p.data.copy_(start)
            p.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
        results.append([p.detach().clone() for p in weights])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_layers_are_the_papers() -> None:
    """Both downsampling convolutions, the first and the fifth block, or the last where there are fewer."""
    for blocks, last in ((1, 10), (3, 12), (5, 14), (9, 14)):
        G = ResnetTranslator((3, 32, 32), (1, 32, 32), 4, blocks)
        assert list(encoder_layers(G)) == list(dict.fromkeys((4, 7, 10, last)))
        assert [G.body[i].stride for i in (4, 7)] == [(2, 2), (2, 2)]
        assert all(isinstance(G.body[i], ResidualBlock) for i in (10, last))
        shapes = [tuple(maps.shape[1:]) for maps in encoder_features(G, torch.rand(1, 3, 32, 32))]
        assert shapes[:4] == [(3, 32, 32), (8, 16, 16), (16, 8, 8), (16, 8, 8)]
    assert CUT(width=4).networks(SHAPES)["H"].mlps[3][0].in_features == 16


def test_places_are_random_without_repetition_and_the_same_in_both_images() -> None:
    maps = torch.arange(12.0).reshape(1, 1, 3, 4).expand(2, 5, 3, 4)
    places = random_places(maps, 5)
    assert places.shape == (2, 5)
    assert all(len(row.unique()) == 5 for row in places)
    assert len({tuple(random_places(maps, 5)[0].tolist()) for _ in range(20)}) > 10
    assert random_places(maps, 256).sort().values.tolist() == [list(range(12))] * 2
    (chosen,) = select_places([maps], [places])
    assert torch.equal(chosen, places[..., None].expand(2, 5, 5).float())


@pytest.mark.parametrize("b", [1, 3, 4])
@pytest.mark.parametrize("a", [1, 3, 4])
def test_images_are_given_the_channels_and_the_size_of_inputs(a: int, b: int) -> None:
    y = torch.full((2, b, 6, 4), 0.2)
    y[:, 3:] = 0.5
    seen = like_input(y, torch.zeros(2, a, 12, 9))
    assert seen.shape == (2, a, 12, 9)
    torch.testing.assert_close(seen[:, :3], torch.full((2, min(a, 3), 12, 9), 0.2))
    assert a < 4 or (seen[:, 3] == (0.5 if b == 4 else 1)).all()
    assert like_input(y, torch.zeros(2, b, 6, 4)) is y
    colours = torch.rand(1, 3, 2, 2)
    torch.testing.assert_close(like_input(colours, torch.zeros(1, 1, 2, 2))[:, 0], colours.mean(1))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 5), (1, 30), (17, 9), (32, 32)])
@pytest.mark.parametrize("channels", [(1, 1), (3, 1), (1, 4), (4, 3)])
def test_images_of_every_shape_are_learnt(size: tuple[int, int], channels: tuple[int, int]) -> None:
    model, (a, b) = CUT(width=4, blocks=2), [(c, *size) for c in channels]
    nets = model.networks((a, b))
    for move in model.step(iter([batch_of(a, b)]), 0, **nets):
        weights = [p for net in move.networks for p in net.parameters()]
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(move.loss, weights))
    other = torch.rand(1, channels[0], 13, 7)
    assert model.translate(other, "B", **nets).shape == (1, channels[1], 13, 7)
    assert model.preview(batch_of(a, b), G=nets["G"]).shape == (3, 2, max(channels), *size)


def test_every_weight_moves_the_loss_and_fastcut_has_no_identity_term() -> None:
    batch, nets = batch_of(), CUT(width=4, blocks=1).networks(SHAPES)

    def terms(**options: float) -> dict[str, float]:
        *_, move = CUT(width=4, blocks=1, **STILL | options).step(iter([batch]), 0, **nets)
        return {name: term.item() for name, term in move.terms.items()}

    usual = terms()
    for name, option in (("nce", "nce_weight"), ("identity", "identity_weight")):
        assert terms(**{option: 2.0})[name] == pytest.approx(2 * usual[name], rel=1e-4)
        assert terms(**{option: 0.0}).get(name, 0) == 0
    assert set(terms(nce_weight=10, identity_weight=0)) == {"fool", "nce"}
    assert terms(temperature=1e6)["nce"] == pytest.approx(sum(map(log, (120, 30, 9, 9))) / 4, rel=1e-4)


def test_vectors_are_refused(images: Dataset) -> None:
    with pytest.raises(UserError, match="the data are vectors: train cyclegan or discogan$"):
        ganvas.train(CUT(), ("ring", "ring"), steps=1)
    with pytest.raises(UserError, match="`net` must be"):
        CUT(net="mlp")  # type: ignore[arg-type]


def test_a_trained_one_is_evaluated_and_goes_one_way(images: Dataset, tmp_path: Path) -> None:
    grey = image_collection(30, (12, 10, 1), 1)
    options: dict[str, Any] = {"batch_size": 2, "checkpoint_every": 2, "quiet": True}
    run = ganvas.train(small(CUT), (images, grey), steps=4, folder=tmp_path / "run", **options)
    assert run.directions == ("B",)
    assert set(run.nets) == {"G"}
    values = ganvas.evaluate(run, (images, grey), metrics=("sliced-wasserstein",))
    assert "to_b" in values
    assert "to_a" not in values
    with pytest.raises(UserError, match="this cut translates to B, not to 'A'"):
        run.translate(grey, "A")
    assert "cycle_error_A" not in values["cycle_statistics"]
    assert "diversity_A" in values["cycle_statistics"]


def test_a_correction_starts_at_the_input(images: Dataset) -> None:
    """With `residual` G(x) = x at first, and the features are those of the network within."""
    model, batch = small(CUT, residual=True, **STILL), batch_of()
    nets = model.networks(as_pair(images).shape)
    *_, move = model.step(iter([batch]), 0, **nets)
    assert move.terms["nce"].isfinite()
    maps = encoder_features(nets["G"], batch.a.x)
    assert [layer.shape[1] for layer in maps] == [mlp[0].in_features for mlp in nets["H"].mlps]


def test_the_doctor_names_its_weights() -> None:
    figures = {"diversity_A": 0.1, "input_change_A": 0.02, "accuracy_B": 0.9}
    sentences = " ".join(ganvas.diagnostics.diagnose(CUT(), {"adversarial": figures}, 5000, 1))
    assert "--nce-weight above 1" in sentences
    assert "--identity-weight below 1" in sentences
    assert "cycle" not in sentences
