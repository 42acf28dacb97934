"""Errors of Python's arguments: one sentence that names them as they are called there."""

from collections.abc import Callable
from typing import Any

import pytest

import ganvas
from ganvas.cli.app import main, spell_options
from ganvas.cli.compare import notes
from ganvas.cli.evaluate import floor_lines
from ganvas.data import Dataset
from ganvas.errors import UserError

WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: ganvas.VAE(latent=-1), "`latent` must be greater than 0, not -1"),
    (lambda: ganvas.VAE(latnet=3), "VAE has no 'latnet'. Did you mean \"latent\"?"),  # type: ignore[call-arg]
    (lambda: ganvas.VAE(3), "VAE takes 3 by name, as in lr=..., betas=..."),  # type: ignore[misc]
    (lambda: ganvas.VAE(sigma="x"), "`sigma` must be a number or 'learned' or 'optimal', not 'x'"),  # type: ignore[arg-type]
    (lambda: ganvas.VAE(betas=0.5), "`betas` must be several values, not 0.5"),  # type: ignore[arg-type]
    (lambda: ganvas.LadderVAE(latents=()), "`latents` must have 1 or more values, not ()"),
    (lambda: ganvas.TrainConfig(steps=1.5), "`steps` must be a whole number, not 1.5"),  # type: ignore[arg-type]
    (lambda: ganvas.TrainConfig(balanced="so"), "`balanced` must be true or false, not 'so'"),  # type: ignore[arg-type]
    (lambda: ganvas.DataOptions(splt="test"), "DataOptions has no 'splt'. Did you mean \"split\"?"),  # type: ignore[call-arg]
    (lambda: ganvas.train(ganvas.VAE(), "ring", epoch=3), "train has no option 'epoch'. Did you mean \"epochs\"?"),
    (lambda: ganvas.train(ganvas.VAE(), "ring", latent=3), "train has no option 'latent'. VAE has: VAE(latent=...)."),
    (lambda: ganvas.train(ganvas.VAE(), "ring", steps=-3), "`steps` must be greater than 0, not -3"),
    (lambda: ganvas.train(ganvas.VAE(), "nothing"), "no data 'nothing': neither a path nor one of "),
]


@pytest.mark.parametrize(("call", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_values_that_do_not_fit(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("steps=10 and epochs=2: choose", "--steps 10 and --epochs 2: choose"),
        ("use norm_d=layer, or `weight_clip`.", "use --norm-d layer, or --weight-clip."),
        ("train it with conditional=true, or flip=false", "train it with --conditional, or --no-flip"),
        ("betas=0.5,0.9: give 0 first", "--betas 0.5,0.9: give 0 first"),
        ("n=0: give 1 or more", "-n 0: give 1 or more"),
        ("GANVAS_INCEPTION=/there, a folder x=3, `colour` and --lr", None),
    ],
)
def test_the_command_line_makes_options_of_arguments(sentence: str, said: str | None) -> None:
    assert spell_options(sentence) == (said or sentence)


def test_a_trained_model_prints_in_a_line(vectors: Dataset) -> None:
    run = ganvas.train(ganvas.VAE(latent=2, width=4), vectors, steps=2, batch_size=8, quiet=True)
    assert repr(run) == f"Trained(vae at step 2 trained on vectors of 3, {run.folder})"


def test_the_same_mistake_in_both_places(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"^net=conv needs images"):
        ganvas.train(ganvas.VAE(net="conv"), "ring", quiet=True)
    assert main(["train", "vae", "ring", "--net", "conv"]) == 2
    assert capsys.readouterr().err.startswith("ganvas: --net conv needs images")


def test_why_a_metric_is_left_out_is_said_with_options() -> None:
    reasons = {"fid": "use more examples, or allow_few=true to report it all the same"}
    assert floor_lines({"skip_reasons": reasons})[0].endswith("or --allow-few to report it all the same")
    result = {"floor_source": "halves", "level": 0.95, "resamples": 9, "skip_reasons": reasons}
    assert notes(result)[-1] == "fid left out: use more examples, or --allow-few to report it all the same"
