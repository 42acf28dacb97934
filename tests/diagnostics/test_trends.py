"""What the whole log says is wrong, just outside of each limit and not just inside; `ganvas doctor`; the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset
from ganvas.diagnostics import DOCS_PAGE, Diagnosis, examine, latent_report, latest_statistics
from ganvas.diagnostics.figures import count_reversals
from ganvas.errors import DivergenceError
from ganvas.model import Batch, Model
from ganvas.models._gan_diagnosis import MIN_REVERSALS
from ganvas.rules import MAX_COPY_SHARE, MAX_EMA_LAG, MAX_LOSS_RISE, MAX_OUTSIDE_SHARE, MAX_WEIGHT_SCALE, MIN_SWING
from ganvas.training import monitor
from ganvas.training.loop import initialize_state
from ganvas.training.run_records import read_log
from tests.support.cli import said, told
from tests.support.games import HEALTHY

GAME = HEALTHY | {"distance_to_data": 0.2, "ema_lag": 0.9, "weight_scale": 1.0}
CODES = {
    "dimensions": 8, "active_units": 8, "kl": 9.0, "kl_from_prior": 0.01, "aggregate_std_range": [0.9, 1.1],
    "weight_scale": 1.0, "ema_lag": 1.0,
}  # fmt: skip
STEPS = 1000


def log(n: int = 40, part: str = "adversarial", **more: Any) -> list[dict[str, Any]]:
    """n lines of a healthy run of a GAN, or of a VAE (part="latent"), with a list's values, or a value, in place."""
    healthy: dict[str, Any] = GAME if part == "adversarial" else CODES
    lines = []
    for i in range(n):
        own = {name: value[i] if isinstance(value, list) else value for name, value in more.items()}
        line: dict[str, Any] = {"step": STEPS * (i + 1) // n, "seconds": 0.1 * i}
        if part == "latent":
            line["reconstruction"] = own.pop("reconstruction", 50.0 - i)
        lines.append(line | {part: healthy | own})
    return lines


def names(model: Model, lines: list[dict[str, Any]]) -> list[str]:
    found = examine(model, STEPS, lines)
    for diagnosis in found:
        assert diagnosis.remedies
        assert diagnosis.sentence.startswith(f"{diagnosis.name}: ")
    return [diagnosis.condition for diagnosis in found]


def test_healthy_logs_are_let_be() -> None:
    assert names(ganvas.GAN(), log()) == []
    assert names(ganvas.VAE(), log(part="latent")) == []
    assert examine(ganvas.VAE(), STEPS, []) == []
    assert examine(ganvas.VAE(), STEPS, [{"step": 1000, "seconds": 1.0}]) == []


def test_turns_are_counted_where_they_are_large_enough() -> None:
    assert count_reversals([0.0, 1.0, 0.0, 1.0], 0.5) == 2
    assert count_reversals([1.0, 0.0, 1.0, 0.0], 0.5) == 2
    assert count_reversals([0.0, 1.0, 0.6, 1.0, 0.6], 0.5) == 0
    assert count_reversals([0.0, 0.3, 0.6, 0.9, 0.6, 0.3, 0.0], 0.5) == 1
    assert count_reversals([3.0, 2.0, 1.0], 0.5) == 0


def test_oscillation_is_said_of_large_swings_in_the_last_half() -> None:
    def swinging(by: float, times: int, start: int = 20) -> list[float]:
        corners = [0.2 + by * (i % 2) for i in range(times + 2)]
        rest = [corners[-1]] * (40 - start - len(corners))
        return [0.2] * start + corners + rest

    assert names(ganvas.GAN(), log(distance_to_data=swinging(1.01 * MIN_SWING, MIN_REVERSALS))) == ["oscillation"]
    assert names(ganvas.GAN(), log(distance_to_data=swinging(0.99 * MIN_SWING, MIN_REVERSALS))) == []
    assert names(ganvas.GAN(), log(distance_to_data=swinging(1.01 * MIN_SWING, MIN_REVERSALS - 1))) == []
    assert names(ganvas.GAN(), log(distance_to_data=swinging(0.5, 5, start=2))) == [], "in the first half"
    (found,) = examine(ganvas.GAN(betas=(0.9, 0.999)), STEPS, log(distance_to_data=swinging(0.5, 4)))
    assert "--betas 0.5 0.999" in found.texts
    assert (
        "a penalty on D's gradient (--r1 1)"
        not in examine(ganvas.R3GAN(), STEPS, log(distance_to_data=swinging(0.5, 4)))[0].texts
    )


def test_weights_that_have_grown_are_a_learning_rate() -> None:
    (found,) = examine(ganvas.GAN(lr_d=1e-3), STEPS, log(weight_scale=MAX_WEIGHT_SCALE + 0.1))
    assert (found.condition, found.value, found.limit) == ("learning rate", MAX_WEIGHT_SCALE + 0.1, MAX_WEIGHT_SCALE)
    assert found.texts == ["--lr below 0.0002", "--lr-d below 0.001", "--clip-grad-norm 1"]
    assert names(ganvas.GAN(), log(weight_scale=MAX_WEIGHT_SCALE)) == []
    assert names(ganvas.VAE(), log(part="latent", weight_scale=MAX_WEIGHT_SCALE + 0.1)) == ["learning rate"]
    assert names(ganvas.WGAN(), log(weight_scale=5.0)) == [], "its weights are clipped"
    assert names(ganvas.GAN(spectral_norm=True), log(weight_scale=50.0)) == [], "its weights are divided"


def test_a_loss_that_rises_again_is_a_learning_rate() -> None:
    def risen(share: float) -> list[float]:
        return [100.0 - 4 * i for i in range(20)] + [24.0] * 10 + [24.0 + share * 76] * 10

    assert names(ganvas.VAE(), log(part="latent", reconstruction=risen(MAX_LOSS_RISE + 0.02))) == ["learning rate"]
    assert names(ganvas.VAE(), log(part="latent", reconstruction=risen(MAX_LOSS_RISE - 0.02))) == []
    assert names(ganvas.VAE(warmup=800, beta=2.0), log(part="latent", reconstruction=risen(0.9))) == [], (
        "beta was rising"
    )
    assert names(ganvas.VAE(capacity=3.0), log(part="latent", reconstruction=risen(0.9))) == []


def test_the_noise_of_a_long_plateau_is_no_learning_rate() -> None:
    noisy = [100.0] + [20.0 + (i * 7 % 5) / 10 for i in range(998)] + [20.5]
    assert names(ganvas.VAE(), log(1000, part="latent", reconstruction=noisy)) == []


def test_a_run_that_ended_is_a_learning_rate(vectors: Dataset) -> None:
    with pytest.raises(DivergenceError):
        ganvas.train(
            ganvas.VAE(lr=1e30, latent=2, width=4),
            vectors,
            steps=20,
            batch_size=8,
            checkpoint_every=10,
            folder="run",
            quiet=True,
        )
    lines = read_log("run")
    assert "diverged" in lines[-1]
    (found,) = [found for found in examine(ganvas.VAE(lr=1e30), 20, lines) if found.condition == "learning rate"]
    assert lines[-1]["diverged"] in found.evidence
    assert json.loads(json.dumps(found.to_dict()))["figure"] == lines[-1]["step"]


def test_samples_that_leave_the_range_are_said() -> None:
    assert names(ganvas.GAN(), log(outside_fraction=MAX_OUTSIDE_SHARE + 0.01)) == ["leakage of range"]
    assert names(ganvas.GAN(), log(outside_fraction=MAX_OUTSIDE_SHARE)) == []
    assert names(ganvas.VAE(), log(part="latent", outside_fraction=1.0)) == ["leakage of range"]


def test_copies_are_said_where_they_were_counted() -> None:
    lines = log()
    lines[-5]["samples"] = {"memorised": MAX_COPY_SHARE + 0.01}
    assert names(ganvas.GAN(), lines) == ["memorisation"]
    lines[-2]["samples"] = {"memorised": MAX_COPY_SHARE}
    lines[-1]["samples"] = {}
    assert names(ganvas.GAN(), lines) == []


def test_an_average_that_is_behind_is_said_at_the_end() -> None:
    assert names(ganvas.GAN(), log(ema_lag=MAX_EMA_LAG + 0.01)) == ["EMA too slow"]
    assert names(ganvas.GAN(), log(ema_lag=MAX_EMA_LAG)) == []
    assert names(ganvas.GAN(), log(ema_lag=MAX_EMA_LAG + 1)[:-1]) == []


def test_dead_dimensions_are_no_alarm() -> None:
    def noted(model: Model, **codes: Any) -> list[str]:
        found = examine(model, STEPS, log(part="latent", **codes))
        assert not any(diagnosis.is_alarm for diagnosis in found)
        return [diagnosis.evidence for diagnosis in found]

    assert noted(ganvas.VAE(latent=8), active_units=4) == []
    assert noted(ganvas.VAE(latent=8), active_units=3) == ["3 of 8 latent dimensions are active (limit a half)"]
    ladder = ganvas.LadderVAE(latents=(5, 3))
    assert noted(ladder, kl_per_dimension=[[1.0] * 5 + [0.02] * 3] * 40) == []
    assert "level 2 of the hierarchy" in noted(ladder, active_units=5, kl_per_dimension=[[1.0] * 5 + [0.0] * 3] * 40)[0]
    std = torch.tensor([1.0, 0.5, 0.009, 0.0])
    assert latent_report({"aggregate_mean": torch.zeros(4), "aggregate_std": std})["dead_units"] == 2


def test_the_first_steps_are_no_sign() -> None:
    lines = log(weight_scale=10.0, outside_fraction=1.0)
    assert examine(ganvas.GAN(), STEPS, lines[:7]) == []
    assert examine(ganvas.GAN(), 10 * STEPS, lines[:39]) == []
    assert examine(ganvas.GAN(), STEPS, lines[:9]) != []


@pytest.mark.parametrize(
    "model",
    [
        ganvas.GAN(width=8), ganvas.CGAN(width=4), ganvas.VAE(latent=3, width=4),
        ganvas.VAE(latent=3, width=4, conditional=True), ganvas.VAE(latent=3, width=4, prior="vamp", pseudo_inputs=5),
        ganvas.LadderVAE(latents=(3, 2), width=4), ganvas.Autoencoder(latent=3, width=4),
    ],
)  # fmt: skip
def test_equal_averages_lag_by_nothing(model: Model, images: Dataset) -> None:
    state = initialize_state(model, images.shape, 0, torch.device("cpu"), len(images.classes))
    batch = Batch(images.x.float() / 255, images.labels)
    latest = {name: state.nets[name].eval() for name in state.ema_nets}
    found = monitor.ema_statistics(model, batch, latest, dict(state.ema_nets.items()))
    assert found["ema_lag"] == 1.0
    assert monitor.distance_to_data(model, batch, latest) > 0
    assert "outside_fraction" not in found, "pixels stay in their range"


def test_weights_that_keep_signals_as_they_are_have_scale_one() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(400, 300), torch.nn.Linear(300, 100))
    for layer in net:
        torch.nn.init.normal_(layer.weight, std=layer.in_features**-0.5)  # type: ignore[union-attr, operator, arg-type]
    assert monitor.weight_scale(net) == pytest.approx(1, abs=0.02)
    with torch.no_grad():
        net[0].weight *= 1000  # as for data in other units
    assert monitor.weight_scale(net) == pytest.approx(1, abs=0.02)
    assert monitor.weight_scale(torch.nn.ReLU()) == 0


def test_what_lies_outside_of_the_box_is_counted() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    made = torch.tensor([[0.5, 1.0], [1.49, -0.99], [1.51, 1.0], [0.5, -1.01]])
    assert monitor.outside_share(made, x) == 0.5


def test_the_command_says_what_is_wrong(vectors: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("my noise.npy", vectors.x.numpy())
    options = {"steps": 300, "checkpoint_every": 100, "batch_size": 32, "folder": "run", "quiet": True}
    ganvas.train(ganvas.VAE(beta=50, latent=4, width=16, lr=5e-3), "my noise.npy", **options)
    text = said(capsys, "doctor", "run")
    assert text.startswith("posterior collapse\n  evidence  0 of 4 latent dimensions are active")
    assert "remedies  --beta below 50" in text
    given = "--lr 0.005 --latent 4 --width 16 --steps 300 --batch-size 32 --checkpoint-every 100"
    command = f"ganvas train vae '{Path.cwd()}/my noise.npy' {given} --beta 25.0"
    assert f"\n  try       {command}\n" in text
    assert "more      docs/doctor.md#posterior-collapse" in text
    found = told(capsys, "doctor", "run")
    assert [diagnosis["name"] for diagnosis in found["diagnoses"]] == ["posterior collapse"]
    assert found["diagnoses"][0]["figure"] == 0
    assert found["diagnoses"][0]["command"] == command
    assert found["figures"]["active_units"] == 0
    ganvas.train(ganvas.VAE(beta=50, latent=4, width=16, lr=5e-3), vectors, **options | {"folder": "array"})
    assert "\n  try " not in said(capsys, "doctor", "array"), "nobody can type an array"


def test_lists_in_place_of_numbers_are_damage(vectors: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """Such a line is left out."""
    for model, part in ((ganvas.GAN(width=4), "adversarial"), (ganvas.VAE(width=4, latent=2), "latent")):
        ganvas.train(model, vectors, folder=part, steps=4, checkpoint_every=4, batch_size=8, quiet=True)
        lines = [json.loads(line) for line in Path(part, "log.jsonl").read_text().splitlines()]
        lines[-1][part]["weight_scale"] = [1.0]
        Path(part, "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        told(capsys, "doctor", part, code=1)
        assert len(read_log(part)) == 3


def test_the_command_says_what_it_looked_at(vectors: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    ganvas.train(ganvas.R3GAN(width=8), vectors, steps=30, checkpoint_every=10, batch_size=32, folder="run", quiet=True)
    text = said(capsys, "doctor", "run")
    assert text.startswith("the run was too short to tell: step 30 of 30; accuracy_real ")
    assert "diversity" in text
    assert latest_statistics(read_log("run")).keys() >= {
        "distance_to_data",
        "ema_lag",
        "weight_scale",
        "outside_fraction",
        "sliced_wasserstein",
        "memorised",
    }
    config = json.loads(Path("run/config.json").read_text())
    config["train_config"]["steps"] = 3000
    Path("run/config.json").write_text(json.dumps(config))
    assert said(capsys, "doctor", "run").startswith("too early to tell: step 30 of 3000; ")
    (Path("run") / "log.jsonl").unlink()
    assert main(["doctor", "run"]) == 2
    assert "has no log.jsonl yet" in capsys.readouterr().err


def test_every_diagnosis_has_a_section_of_the_page() -> None:
    page = (Path(__file__).resolve().parents[2] / DOCS_PAGE).read_text(encoding="utf-8")
    sections = [line[3:] for line in page.splitlines() if line.startswith("## ")][1:]  # the first: results
    anchors = {Diagnosis(title, "", 0.0, 0.0, ()).page.partition("#")[2] for title in sections}
    diseases = (
        "mode collapse", "posterior collapse", "codes far from N(0, I)", "dead latent", "D has won", "critic's slope",
        "oscillation", "learning rate", "past its best", "leakage of range", "memorisation", "EMA too slow",
        "input repeated", "input hidden", "critic of a domain has won", "speckle", "translations alike",
        "skipped updates",
    )  # fmt: skip
    assert {Diagnosis(title, "", 0.0, 0.0, ()).page.partition("#")[2] for title in diseases} == anchors
    assert "codes-far-from-n0-i" in anchors
