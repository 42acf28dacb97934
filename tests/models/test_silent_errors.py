"""Errors that known codebases make without a word, each put where ours would show it.

One test an error, named after it.  What a test cannot see here is tested where it belongs: the sign and the weights of
the importance weighted bound in test_vae.py, exact numbers of samples in test_likelihood.py and test_vae.py.
"""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import Dataset, fit_scaling, load, make_stream
from ganvas.distributions.posteriors import DiagonalGaussian
from ganvas.model import Batch
from ganvas.models import MODELS, VAE
from ganvas.nn.device import autocast
from ganvas.training import loop as training
from ganvas.training.loop import apply_move, initialize_state
from ganvas.training.run_records import read_log
from tests.support.data import learnt_by
from tests.support.models import small

X = (torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()
OPTIONS: dict[str, dict[str, Any]] = {
    "full": {"posterior": "full"}, "low-rank": {"posterior": "low-rank"}, "iaf": {"posterior": "iaf"},
    "warm-up": {"warmup": 1}, "free bits": {"free_bits": 1e-6}, "capacity": {"capacity": 3.0},
    "geco": {"geco": 0.1}, "vamp": {"prior": "vamp", "pseudo_inputs": 4}, "latent_samples": {"latent_samples": 3},
    "learned sigma": {"sigma": "learned"}, "optimal sigma": {"sigma": "optimal"},
    "logistic": {"likelihood": "discretized-logistic"}, "spatial": {"net": "spatial"},
    "conditional": {"conditional": True}, "dynamic": {"likelihood": "bernoulli", "binarize": "dynamic"},
}  # fmt: skip


@pytest.mark.parametrize("fields", OPTIONS.values(), ids=list(OPTIONS))
def test_no_term_is_computed_without_a_gradient(fields: dict[str, Any]) -> None:
    """A perceptual loss under no_grad, a weight that the loss never reaches: every parameter has to move the loss."""
    torch.manual_seed(0)
    vae = VAE(latent=3, width=8, flow_width=16, **fields)
    nets = vae.networks((1, 8, 8), 2)
    batch = Batch(X, torch.arange(16) % 2, 16)
    for move in vae.step(iter([batch]), 5, **nets):
        apply_move(move, torch.optim.SGD([p for net in move.networks for p in net.parameters()], lr=0))
    dead = [
        name
        for net, module in nets.items()
        for name, p in module.named_parameters(prefix=net)
        if p.grad is None or not p.grad.any()
    ]
    assert dead == []


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("beta", (1.0, 2.0)), ("latent_samples", (1, 2)), ("warmup", (0, 10)), ("free_bits", (0.0, 5.0)), ("capacity",
        (None, 9.0)),
        ("geco", (None, 0.2)), ("sigma", (0.4, 0.2)), ("sigma", (0.4, "optimal")), ("sigma", (0.4, "learned")),
        ("posterior", ("diagonal", "full")), ("posterior", ("diagonal", "low-rank")),
        ("posterior", ("diagonal", "iaf")),
        ("likelihood", ("gaussian", "bernoulli")), ("likelihood", ("gaussian", "squared-error")),
        ("likelihood", ("gaussian", "continuous-bernoulli")), ("likelihood", ("gaussian", "discretized-logistic")),
        ("prior", ("standard", "vamp")), ("conditional", (False, True)), ("activation", ("relu", "tanh")),
        ("width", (4, 5)), ("net", ("conv", "mlp")), ("net", ("conv", "spatial")),
    ],
)  # fmt: skip
def test_no_option_is_read_and_then_ignored(field: str, values: tuple[Any, Any]) -> None:
    """A KL weight or a beta that is never used: changing any option changes the loss of the next step."""
    losses = []
    for value in values:
        torch.manual_seed(0)
        vae = VAE(**({"latent": 3, "width": 4, "net": "conv"} | {field: value}))
        nets = vae.networks((1, 8, 8), 2)
        torch.manual_seed(1)
        (move,) = vae.step(iter([Batch(X, torch.arange(16) % 2, 16)]), 3, **nets)
        losses.append(move.loss.item())
    assert losses[0] != losses[1]


def test_the_kl_is_there_by_default() -> None:
    """Clamped to a capacity of 0, it would be none: the "VAE" would be an autoencoder."""
    torch.manual_seed(0)
    nets = VAE(latent=3, width=4).networks((1, 8, 8))
    (move,) = VAE(latent=3, width=4).step(iter([Batch(X)]), 0, **nets)
    (gradient,) = torch.autograd.grad(move.terms["kl"], [list(nets["encoder"].parameters())[-1]])
    assert move.terms["kl"].item() > 0
    assert gradient.abs().sum() > 0


def test_the_kl_is_logged_with_its_own_sign(images: Dataset) -> None:
    run = ganvas.train(small(MODELS["vae"]), images, steps=10, batch_size=8, checkpoint_every=10, quiet=True)
    lines = read_log(run.folder or "")
    assert all(line["kl"] > 0 and line["latent"]["kl"] > 0 for line in lines)


def test_losses_are_sums_over_dimensions_and_means_over_the_batch() -> None:
    """Means over pixels against sums over latent dimensions: here twice the pixels have twice the loss."""
    vae = VAE(latent=3, width=4, likelihood="squared-error", net="mlp")
    nll = [nn.Sequential(list(vae.networks((1, 8, w)).values())[1][-1])(torch.zeros(2, 1, 8, w)) for w in (8, 16)]
    values = [p.nll(torch.ones(2, 1, 8, w))[0] for p, w in zip(nll, (8, 16), strict=True)]
    assert values[0].tolist() == pytest.approx([64 * 0.25] * 2)
    assert values[1].tolist() == pytest.approx([128 * 0.25] * 2)


def test_reconstructions_are_from_the_mean_and_not_from_a_random_code(images: Dataset) -> None:
    run = ganvas.train(small(MODELS["vae"]), images, steps=3, batch_size=8, quiet=True)
    torch.manual_seed(0)
    a = run.reconstruct(images).x
    torch.manual_seed(1)
    assert torch.equal(a, run.reconstruct(images).x)
    assert torch.equal(a, run.decode(run.encode(images)).x)


def test_epsilon_is_divided_by_the_standard_deviation_and_not_by_its_logarithm() -> None:
    q = DiagonalGaussian(torch.tensor([[1.0]]), torch.tensor([[0.25]]))
    at_one_sigma, at_mean = (q.log_prob(torch.tensor([[[v]]])).item() for v in (1.25, 1.0))
    assert at_mean - at_one_sigma == pytest.approx(0.5)


def test_low_precision_needs_no_loss_scaling() -> None:
    """float16 underflows without a scaler; bfloat16 has the range of float32.  Weights and optimiser stay float32."""
    precisions = get_args(TrainConfig.__dataclass_fields__["precision"].type)
    assert set(precisions) == {"float32", "bfloat16", "auto"}  # auto is one of the others
    digits = load("digits")
    model = VAE(latent=3, width=8)
    state = initialize_state(model, digits.shape, 0, torch.device("cpu"))
    for _ in training.train(model, digits, TrainConfig(steps=3, batch_size=20, precision="bfloat16"), state):
        pass
    assert all(p.dtype == torch.float32 for p in state.nets.parameters())
    held = [t for s in state.optimizers["encoder+decoder"].state.values() for t in s.values()]
    assert all(t.dtype == torch.float32 for t in held)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in state.nets.parameters())


def test_low_precision_is_not_silently_off() -> None:
    digits = load("digits")
    kernels: list[torch.dtype] = []
    model = VAE(latent=3, width=8)
    state = initialize_state(model, digits.shape, 0, torch.device("cpu"))
    first = state.nets["encoder"][0]
    first.register_forward_hook(lambda module, inputs, output: kernels.append(output.dtype))
    for _ in training.train(model, digits, TrainConfig(steps=1, batch_size=20, precision="bfloat16"), state):
        pass
    assert kernels == [torch.bfloat16]


def test_autocast_does_not_keep_weights_from_before_a_move(images: Dataset) -> None:
    """Its cache would: G's move would see D as it was before D's."""
    gan = small(MODELS["gan"])
    state = initialize_state(gan, images.shape, 0, torch.device("cpu"))
    with autocast("bfloat16", torch.device("cpu")):
        net = state.nets["D"]
        x = torch.rand(4, *images.shape)
        before = net(x)
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.1)
        assert not torch.equal(before, net(x))


def test_adam_is_the_papers(images: Dataset) -> None:
    """0.9 and 0.999, moments from 0: not 0.99, not ones."""
    vae = small(MODELS["vae"])
    optimizer = vae.optimizer(nn.Linear(1, 1))
    group = optimizer.param_groups[0]
    assert (group["betas"], group["eps"], group["lr"]) == ((0.9, 0.999), 1e-8, 1e-3)
    weight = torch.zeros(1, requires_grad=True)
    parameters = nn.ParameterList([weight])
    optimizer = vae.optimizer(parameters)
    parameters[0].grad = torch.tensor([0.5])
    optimizer.step()
    state = optimizer.state[parameters[0]]
    assert state["exp_avg"].item() == pytest.approx(0.05)
    assert state["exp_avg_sq"].item() == pytest.approx(0.00025)
    assert parameters[0].item() == pytest.approx(-1e-3, rel=1e-4)


def test_training_and_test_examples_are_not_the_same() -> None:
    """Training on train + valid and testing on valid, or on all of it."""
    for name in ("emoji", "emoji-flat", "digits", "ring", "grid", "swiss-roll"):
        train, test = (load(name, ganvas.DataOptions(split=split)).x.flatten(1).numpy() for split in ("train", "test"))
        seen = {row.tobytes() for row in train}
        repeated = sum(row.tobytes() in seen for row in test)
        assert repeated <= 0.02 * len(test), name  # the emoji have a few that look alike


def test_evaluation_takes_the_test_split_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    from ganvas.cli.app import main

    words = "train vae digits --steps 2 --batch-size 8 --width 4 --latent 2 --quiet"
    assert main(words.split()) == 0
    assert main(["evaluate", "last", "-k", "2", "--metrics", "elbo"]) == 0
    assert "on 297 test examples of digits" in capsys.readouterr().out  # 1,797 less the 1,500 that were trained on


def test_a_model_with_every_option_is_saved_whole(images: Dataset) -> None:
    for fields in OPTIONS.values():
        flow = {"flow_width": 8} if "iaf" in fields.values() else {}
        run = ganvas.train(VAE(latent=3, width=4, **flow, **fields), images, steps=1, batch_size=8, quiet=True)
        again = ganvas.load(run.folder)
        assert again.model == run.model
        state = again.nets.state_dict()
        assert state.keys() == run.nets.state_dict().keys()
        assert all(torch.equal(v, state[k]) for k, v in run.nets.state_dict().items())
        assert torch.equal(again.sample(3).x, run.sample(3).x)


def test_a_step_counter_or_a_multiplier_is_not_lost_at_resume(images: Dataset) -> None:
    """Warm-up is a function of the step; GECO's multiplier and an optimal sigma are in the checkpoint."""
    for fields in (
        {"warmup": 30, "warmup_cycle": 40},
        {"geco": 0.1},
        {"sigma": "optimal"},
        {"prior": "vamp", "pseudo_inputs": 3},
    ):
        model = VAE(latent=3, width=4, **fields)
        options: dict[str, Any] = {
            "batch_size": 8,
            "checkpoint_every": 7,
            "ema_decay": 0.0,
            "lr_decay": 0.0,
            "quiet": True,
        }
        whole = ganvas.train(model, images, steps=20, **options)
        part = ganvas.train(model, images, steps=9, **options)
        resumed = ganvas.resume(part.folder or "", steps=20, data=images, quiet=True)
        other = resumed.nets.state_dict()
        assert all(torch.equal(v, other[k]) for k, v in whole.nets.state_dict().items()), fields
        assert read_log(whole.folder or "")[-1]["kl"] == read_log(resumed.folder or "")[-1]["kl"]


def test_a_models_fields_are_not_changed_by_using_them(images: Dataset) -> None:
    """A list of widths reversed in place, in one codebase, builds another network the second time."""
    for cls in MODELS.values():
        model, data = small(cls), learnt_by(cls, images)
        data, copy = model.preprocess(data), replace(model)
        first, second = (
            sum(p.numel() for n in model.networks(data.shape, 5).values() for p in n.parameters()) for _ in "ab"
        )
        batches = make_stream(data, fit_scaling(data, model), batch=8, seed=0)
        next(model.step(batches, 0, **model.networks(data.shape, 5)))
        assert model == copy
        assert first == second


def test_no_evaluation_returns_from_within_its_loop() -> None:
    """One batch instead of all of them, divided by the number of batches."""
    folder = Path(ganvas.__file__).parent
    files = [*(folder / "evaluation").glob("*.py"), *(folder / "metrics").glob("*.py")]
    assert len(files) > 5
    for file in files:
        for loop in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(loop, ast.For | ast.While):
                assert not any(
                    isinstance(n, ast.Return | ast.Break) and file.stem != "fused" for n in ast.walk(loop)
                ), file


def test_bernoulli_is_not_a_likelihood_of_grey_pixels() -> None:
    """Cross-entropy on grey levels is reported as a likelihood in the most-read tutorial: here it is refused."""
    grey = np.random.default_rng(0).integers(0, 256, (20, 8, 8)).astype(np.uint8)
    with pytest.raises(ganvas.errors.UserError, match="add binarize=dynamic"):
        ganvas.train(VAE(likelihood="bernoulli"), grey, steps=1, batch_size=8, quiet=True)
