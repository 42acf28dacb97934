"""Networks of the user's own in place of a model's, from training to loading, resuming and evaluating."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import ganvas
from ganvas.data import Dataset
from ganvas.errors import UserError
from ganvas.model import Model

OPTIONS: dict[str, Any] = {"batch_size": 8, "checkpoint_every": 2, "quiet": True}


class Net(nn.Module):
    """Numbers of some shape to numbers of another, through a batch norm, which has state of its own."""

    def __init__(self, inputs: int, *shape: int, norm: bool = True) -> None:
        super().__init__()
        n = int(torch.tensor(shape).prod())
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, 6), *[nn.BatchNorm1d(6)] * norm, nn.Tanh(), nn.Linear(6, n),
            nn.Unflatten(1, shape),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


PIXELS = (3, 12, 10)
D = 360  # numbers in an image
CASES: dict[str, tuple[type[Model], dict[str, Any], dict[str, nn.Module]]] = {
    "autoencoder": (ganvas.Autoencoder, {"latent": 3}, {"encoder": Net(D, 3), "decoder": Net(3, *PIXELS)}),
    "vae": (ganvas.VAE, {"latent": 3}, {"encoder": Net(D, 6), "decoder": Net(3, *PIXELS)}),
    "vae-encoder": (ganvas.VAE, {"latent": 3, "posterior": "full"}, {"encoder": Net(D, 9)}),
    "vae-iaf": (ganvas.VAE, {"latent": 3, "posterior": "iaf"}, {"encoder": Net(D, 9)}),
    "vae-decoder": (ganvas.VAE, {"latent": 3, "prior": "vamp"}, {"decoder": Net(3, *PIXELS)}),
    "vae-conditional": (
        ganvas.VAE, {"latent": 3, "conditional": True}, {"encoder": Net(8 * 120, 6), "decoder": Net(8, *PIXELS)}
    ),
    "iwae": (ganvas.IWAE, {"latent": 3}, {"encoder": Net(D, 6), "decoder": Net(3, *PIXELS)}),
    "betatcvae": (ganvas.BetaTCVAE, {"latent": 3}, {"encoder": Net(D, 6), "decoder": Net(3, *PIXELS)}),
    "laddervae": (ganvas.LadderVAE, {"latents": (3, 2)}, {"encoder": Net(D, 10), "decoder": Net(3, *PIXELS)}),
    "gan": (ganvas.GAN, {"latent": 3}, {"generator": Net(3, *PIXELS), "discriminator": Net(D, 1)}),
    "dcgan": (ganvas.DCGAN, {"latent": 3, "pack": 2}, {"generator": Net(3, *PIXELS), "discriminator": Net(2 * D, 1)}),
    "cgan": (ganvas.CGAN, {"latent": 3}, {"generator": Net(8, *PIXELS), "discriminator": Net(8 * 120, 1)}),
    "wgan": (ganvas.WGAN, {"latent": 3, "initial_critic_steps": 1}, {"discriminator": Net(D, 1)}),
    "wgangp": (ganvas.WGANGP, {"latent": 3}, {"discriminator": Net(D, 1, norm=False)}),
    "r3gan": (
        ganvas.R3GAN, {"latent": 3}, {"generator": Net(3, *PIXELS), "discriminator": Net(D, 1, norm=False)}
    ),
}  # fmt: skip


def fresh(networks: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """The same modules with other weights, as another process would make them."""
    torch.manual_seed(7)
    return {name: net.apply(randomize) for name, net in networks.items()}


def randomize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        module.reset_parameters()


@pytest.mark.parametrize("case", CASES)
def test_own_networks_train_save_load_and_resume_bit_for_bit(case: str, images: Dataset) -> None:
    cls, fields, networks = CASES[case]
    first = {name: [t.clone() for t in net.state_dict().values()] for name, net in networks.items()}
    model = cls(width=4, **fields, **networks)
    whole = ganvas.train(model, images, folder="whole", steps=4, **OPTIONS)
    ganvas.train(model, images, folder="half", steps=2, **OPTIONS)
    for name, net in networks.items():  # copies were trained
        assert all(map(torch.equal, first[name], net.state_dict().values()))
    resumed = ganvas.resume("half", images, steps=4, quiet=True, **fresh(networks))
    loaded = ganvas.load("half", **fresh(networks))
    states = [run.nets.state_dict() for run in (whole, resumed, loaded)]
    assert all(states[0].keys() == state.keys() for state in states)
    assert all(torch.equal(states[0][key], state[key]) for state in states for key in state)
    assert torch.equal(whole.sample(8).x, loaded.sample(8).x)
    recorded = json.loads(Path("half/config.json").read_text("utf-8"))["own_networks"]
    assert recorded == dict.fromkeys(networks, "Net")


@pytest.mark.parametrize("case", ["vae", "gan"])
def test_own_networks_are_evaluated(case: str, images: Dataset) -> None:
    cls, fields, networks = CASES[case]
    ganvas.train(cls(**fields, **networks), images, folder="run", steps=2, **OPTIONS)
    assert ganvas.evaluate(ganvas.load("run", **networks), images, n=40)
    again = ganvas.train(cls(**fields, **networks), images, folder="again", steps=1, init_from="run", **OPTIONS)
    assert again.metadata["step"] == 1


def test_training_begins_with_the_modules_own_weights_and_modes(images: Dataset) -> None:
    encoder = Net(D, 6)
    encoder.layers[2].eval()
    copy = ganvas.VAE(latent=3, width=4, encoder=encoder).networks(images.shape)["encoder"]
    assert torch.equal(copy.get_parameter("0.layers.1.weight"), encoder.get_parameter("layers.1.weight"))
    assert [m.training for m in copy.get_submodule("0").modules()] == [m.training for m in encoder.modules()]
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(6))
    assert ganvas.VAE(latent=3, encoder=lazy).networks(images.shape)["encoder"].get_parameter("0.1.weight").shape == (
        6,
        D,
    )


@pytest.mark.parametrize("case", ["vae", "gan", "wgan"])
def test_parameters_that_need_no_gradient_stay_as_they_are(case: str, images: Dataset) -> None:
    cls, fields, networks = CASES[case]
    networks = {name: deepcopy(net) for name, net in networks.items()}
    frozen = {name: net.get_parameter("layers.1.weight").requires_grad_(False) for name, net in networks.items()}
    model = cls(width=4, **fields, **networks)
    ganvas.train(model, images, folder="run", steps=4, **OPTIONS)
    ganvas.resume("run", images, steps=6, quiet=True, **networks)
    weights = load_file("run/state.ckpt")
    names = {"generator": "G", "discriminator": "D"}
    for name, weight in frozen.items():
        net = names.get(name, name)
        assert torch.equal(weight, weights[f"nets/{net}.0.layers.1.weight"])
        assert not torch.equal(networks[name].layers[4].weight, weights[f"nets/{net}.0.layers.4.weight"])


@pytest.mark.parametrize(
    ("cls", "networks", "said"),
    [
        (
            ganvas.VAE, {"encoder": Net(D, 3)},
            r"vae: encoder=Net returns 2x3 for 2x3x12x10, but 2x6 is needed: what posterior=diagonal takes",
        ),
        (ganvas.VAE, {"encoder": Net(9, 6)}, r"vae: encoder=Net fails on 2x3x12x10: mat1 and mat2 shapes"),
        (ganvas.VAE, {"decoder": Net(3, 12, 10)}, r"decoder=Net returns 2x12x10 for 2x3, but 2x3x12x10 is needed"),
        (ganvas.GAN, {"discriminator": Net(D, 2)}, r"discriminator=Net returns 2x2 for 2x3x12x10, but 2x1 is needed"),
        (ganvas.GAN, {"discriminator": nn.LSTM(10, 1)}, r"discriminator=LSTM fails on 2x3x12x10: "),
        (ganvas.Autoencoder, {"encoder": nn.LSTM(D, 3)}, r"encoder=LSTM fails on"),
        (ganvas.GAN, {"generator": Net(3, *PIXELS).requires_grad_(False)}, r"no parameters that training could change"),
        (ganvas.WGANGP, {"discriminator": Net(D, 1)}, r"gp=10 is about D's gradient .* but batch norm mixes"),
    ],
)  # fmt: skip
def test_networks_that_do_not_fit(cls: type[Model], networks: dict[str, Any], said: str, images: Dataset) -> None:
    with pytest.raises(UserError, match=said):
        ganvas.train(cls(latent=3, **networks), images, folder="run", steps=1, **OPTIONS)
    assert not Path("run").exists()


def test_arguments_that_are_no_networks_of_their_own() -> None:
    with pytest.raises(UserError, match=r"`encoder` must be an instance of Module, not 3"):
        ganvas.VAE(encoder=3)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"GAN has no 'encoder'"):
        ganvas.GAN(encoder=Net(3, 3))  # type: ignore[call-arg]
    net = Net(4, 4)
    with pytest.raises(UserError, match="encoder and decoder use a weight twice: give each its own"):
        ganvas.Autoencoder(latent=4, encoder=net, decoder=net).networks((4,))
    model = ganvas.CGAN(conditioning="projection", discriminator=net)
    with pytest.raises(UserError, match="projection needs the layers of our D"):
        model.validate_data(ganvas.from_array(torch.zeros(4, 3, 8, 8, dtype=torch.uint8).numpy(), [0, 1, 0, 1]))


def test_networks_are_asked_for_in_one_sentence(images: Dataset) -> None:
    networks = CASES["vae"][2]
    ganvas.train(ganvas.VAE(latent=3, **networks), images, folder="run", steps=2, **OPTIONS)
    wanted = r"run was trained with networks of your own.*ganvas.load\('run', encoder=Net\(...\), decoder=Net\(...\)\)"
    with pytest.raises(UserError, match=wanted):
        ganvas.load("run")
    with pytest.raises(UserError, match=r"ganvas.load\('run', decoder=Net\(...\)\)"):
        ganvas.resume("run", images, steps=4, encoder=networks["encoder"])
    with pytest.raises(UserError, match="was not trained with a network of your own as prior: leave it out"):
        ganvas.load("run", **networks, prior=nn.Identity())
    with pytest.raises(UserError, match=r"encoder.0.layers.4.weight is 6x6 .*should be 6x7|returns 2x5"):
        ganvas.load("run", encoder=Net(D, 5), decoder=networks["decoder"])
