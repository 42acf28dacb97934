"""The conditional GAN: both players are told the class, and its user may ask for one."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset, Stream, from_array, load
from ganvas.errors import UserError
from ganvas.model import Batch
from ganvas.models import CGAN
from ganvas.nn import Conditional
from ganvas.nn.discriminator import ProjectionDiscriminator

Condition = Literal["concatenation", "projection"]
CONDITIONS: tuple[Condition, ...] = ("concatenation", "projection")
every_condition = pytest.mark.parametrize("condition", CONDITIONS)


def test_the_label_is_a_one_hot_code_beside_what_a_network_sees() -> None:
    y = torch.tensor([2, 0])
    x, z = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    code = torch.tensor([[0.0, 0, 1], [1, 0, 0]])
    nets = CGAN(latent=5, width=4, conditioning="concatenation").networks((3, 4, 4), 3)
    inputs: list[Tensor] = []
    for name, given in (("G", z), ("D", x)):
        net = nets[name]
        assert isinstance(net, Conditional)
        net.net.register_forward_pre_hook(lambda module, inside: inputs.append(inside[0]))
        net(given, y)
    assert torch.equal(inputs[0], torch.cat([z, code], 1))
    assert torch.equal(inputs[1], torch.cat([x, code[:, :, None, None].expand(2, 3, 4, 4)], 1))


def test_mlps_are_told_labels_as_in_the_paper_and_convolutional_networks_by_projection() -> None:
    def kind(shape: tuple[int, ...], **fields: Any) -> type[nn.Module]:
        return type(CGAN(latent=5, width=4, **fields).networks(shape, 3)["D"])

    assert kind((3, 8, 8)) is ProjectionDiscriminator
    assert kind((3, 8, 8), net="mlp") is kind((4,)) is kind((3, 8, 8), conditioning="concatenation") is Conditional
    assert kind((4,), conditioning="projection") is ProjectionDiscriminator


def test_a_projection_discriminator_is_its_formula() -> None:
    """psi(phi(x)) + <v_y, phi(x)>, with phi all but the last layer."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    D = ProjectionDiscriminator(net, 5).double()
    x, y = torch.randn(6, 3).double(), torch.tensor([0, 4, 2, 2, 1, 3])
    w, b, psi, c, v = (p.detach().numpy() for p in (*net.parameters(), D.v.weight))
    phi = np.tanh(x.numpy() @ w.T + b)
    expected = phi @ psi.T + c + (v[y.numpy()] * phi).sum(1, keepdims=True)
    np.testing.assert_allclose(D(x, y).detach().numpy(), expected, rtol=1e-10)


@every_condition
@pytest.mark.parametrize("shape", [(3, 12, 10), (4,)])
def test_both_players_hear_the_label(condition: Condition, shape: tuple[int, ...]) -> None:
    nets = CGAN(conditioning=condition, latent=3, width=8).networks(shape, 3)
    for name, given in (("G", torch.randn(1, 3)), ("D", torch.rand(1, *shape))):
        net = nets[name].eval()
        said = [net(given, torch.tensor([label])) for label in range(3)]
        assert not torch.allclose(said[0], said[1], rtol=1e-4, atol=1e-7)
        assert not torch.allclose(said[1], said[2], rtol=1e-4, atol=1e-7)


@every_condition
def test_fakes_are_asked_for_with_the_labels_of_the_batch(condition: Condition, images: Dataset) -> None:
    gan = CGAN(conditioning=condition, latent=3, width=4, gp=1.0, r1=1.0, loss="relativistic", norm_d="none")
    nets = gan.networks(images.shape, 5)
    told: dict[str, list[Tensor]] = {"G": [], "D": []}
    for name, labels in told.items():
        nets[name].register_forward_pre_hook(lambda module, inputs, labels=labels: labels.append(inputs[1]))
    y = next(Stream(images, batch=8, seed=0)).y
    assert y is not None
    list(gan.step(Stream(images, batch=8, seed=0), 0, **nets))
    assert [labels.tolist() for labels in told["G"]] == [y.tolist()] * 2
    assert [labels.tolist() for labels in told["D"]] == [y.repeat(2).tolist(), *[y.tolist()] * 3]


@every_condition
def test_it_learns_to_draw_the_class_it_is_asked_for(condition: Condition) -> None:
    """Two classes far apart on a line."""
    labels = np.arange(400) % 2
    x = (4 * labels[:, None] - 2 + np.random.default_rng(0).normal(scale=0.2, size=(400, 1))).astype(np.float32)
    data = from_array(x, labels, classes=("left", "right"), name="line")
    gan = CGAN(conditioning=condition, latent=2, width=32, lr=2e-3)
    trained = ganvas.train(gan, data, steps=400, batch_size=64, checkpoint_every=400, ema_decay=0.9, quiet=True)
    left, right = (trained.sample(200, label=label).x.float().mean().item() for label in ("left", "right"))
    assert left < -1
    assert right > 1


@every_condition
def test_a_label_is_a_name_or_a_number_and_by_default_each_in_turn(condition: Condition, labelled: Dataset) -> None:
    run = ganvas.train(
        CGAN(net="conv", conditioning=condition, latent=3, width=4), labelled, steps=2, batch_size=8, quiet=True
    )
    assert torch.equal(run.sample(4, label="bright").x, run.sample(4, label=1).x)
    assert not torch.equal(run.sample(4, label="bright").x, run.sample(4, label="dark").x)
    mixed = run.sample(4).x
    for i, label in enumerate(("dark", "bright", "dark", "bright")):
        assert (mixed[i].int() - run.sample(4, label=label).x[i].int()).abs().max() <= 1
    for wrong in ("brihgt", 2, -1):
        with pytest.raises(UserError, match="there is no class .*: this model knows dark, bright"):
            run.sample(4, label=wrong)
    with pytest.raises(UserError, match="this cgan is conditional: give the labels of the codes"):
        run.decode(torch.randn(2, 3))


def test_sampling_a_class_on_the_command_line(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--steps", "2", "--batch-size", "4", "--width", "4", "--quiet"]
    assert main(["train", "cgan", str(folder), *words]) == 0
    assert main(["sample", "last", "-n", "3", "--label", "dog", "--out", "dogs.npz"]) == 0
    assert "class dog" in capsys.readouterr().err
    assert main(["sample", "last", "-n", "3", "--label", "cat", "--out", "cats.npz"]) == 0
    with np.load("dogs.npz") as dogs, np.load("cats.npz") as cats:
        assert dogs["x"].shape == (3, 8, 9, 3)
        assert not np.array_equal(dogs["x"], cats["x"])
    assert [(f, load(f).classes[int(load(f).labels[0])]) for f in ("dogs.npz", "cats.npz")] == [
        ("dogs.npz", "dog"), ("cats.npz", "cat")
    ]  # fmt: skip
    assert main(["sample", "last", "--per-class", "2", "--out", "each.npz"]) == 0
    assert load("each.npz").labels.tolist() == [0, 0, 1, 1]
    assert main(["sample", "last", "--per-class", "1", "--out", "each"]) == 0
    assert sorted(p.name for p in Path("each").iterdir()) == ["00000-cat.png", "00001-dog.png"]
    assert main(["sample", "last", "-n", "1", "--label", "dog", "--out", "one"]) == 0
    assert [p.name for p in Path("one").iterdir()] == ["00000-dog.png"]
    capsys.readouterr()
    assert main(["sample", "last", "--per-class", "4", "--label", "dog"]) == 2
    err = capsys.readouterr().err
    assert err.splitlines() == ["ganvas: --per-class 4 makes examples of every class: leave out -n and --label"]
    assert main(["sample", "last", "--label", "dgo"]) == 2
    assert "there is no class 'dgo': this model knows cat, dog" in capsys.readouterr().err


def test_a_preview_shows_a_class_a_column_or_all_in_turn(images: Dataset) -> None:
    gan = CGAN(latent=3, width=4)
    nets = gan.networks(images.shape, 5)
    told: list[Tensor] = []
    nets["G"].register_forward_pre_hook(lambda module, inputs: told.append(inputs[1]))
    batch = next(Stream(images, batch=7, seed=0))
    assert gan.preview(batch, G=nets["G"]).shape == (4, 7, 3, 12, 10)
    assert told[0].tolist() == [0, 1, 2, 3, 4, 0, 1] * 4
    gan.preview(Batch(batch.x[:3]), G=nets["G"])
    assert told[1].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


def test_unlabelled_data_are_refused_with_what_to_train_instead(images: Dataset, vectors: Dataset) -> None:
    for data, other in ((images.select(slice(20)), "dcgan"), (vectors, "gan")):
        with pytest.raises(UserError, match=f"has no labels, and cgan draws .* or train {other}$"):
            ganvas.train(CGAN(), data.x, steps=1, batch_size=8, quiet=True)
