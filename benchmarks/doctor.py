"""Does the doctor find what is wrong with a run, and does it leave healthy runs alone?

    python3 dev.py run python benchmarks/doctor.py [OUT] [--workers 1] [--only PART] [--unseen]

Small runs: eight diseases, provoked by settings that are known to cause them, five seeds each, and healthy runs of all
kinds of models, four seeds each, some on data that are noisy themselves.  Whether a run is sick is checked by a measure
that the doctor does not see (`measured`), on 1,000 samples, translations or held-out reconstructions.  Thresholds were
set on the logs of the even seeds below 10; the table has both halves, and the odd seeds are the result; with --unseen,
all seeds are from 100 on, which nobody looked at before the thresholds were final.  Goal: recall of 90% in each
disease, and 5% of healthy runs with an alarm.
Logs and measures are kept in OUT (runs/doctor).
"""

import shutil
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import torch
from PIL import Image

from ganvas.data import DataOptions, load
from ganvas.diagnostics import examine
from ganvas.errors import DivergenceError
from ganvas.training.run_records import read_log
from ganvas.metrics import sliced_wasserstein
from ganvas.model import EncoderModel, Model
from _drawings import DRAWINGS, draw
from _support import collect, parser, print_table

SMALL: dict[str, Any] = {"net": "mlp", "width": 64, "latent": 8}
GAME: dict[str, Any] = {"width": 64, "latent": 16}
RING: dict[str, Any] = {"width": 64, "latent": 4}
CONV: dict[str, Any] = {"width": 8, "latent": 16}
PAIR: dict[str, Any] = {"width": 64, "net": "mlp"}
FAST: dict[str, Any] = {"width": 64, "latent": 16, "lr": 1e-4, "lr_d": 2e-3, "n_critic": 3}
"""a game whose D learns twenty times as fast as G, and three times as often"""
UNSEEN = 100
"""the first of the seeds that no limit was set by"""
Case = tuple[Model, str, dict[str, Any]]
SICK: dict[str, tuple[Case, ...]] = {
    "mode collapse": (
        (ganvas.GAN(**RING, lr=5e-3, lr_d=1e-4), "ring", {"steps": 600}),
        (ganvas.GAN(**GAME, lr=5e-3, lr_d=1e-4), "digits", {"steps": 600}),
    ),
    "posterior collapse": (
        (ganvas.VAE(**SMALL, beta=50), "digits", {"steps": 500}),
        (ganvas.VAE(**SMALL, sigma=3.0), "digits", {"steps": 500}),
    ),
    "D has won": (
        (ganvas.GAN(**GAME, loss="minimax", n_critic=5, lr_d=2e-3, lr=1e-5), "digits", {"steps": 300}),
        (ganvas.GAN(**RING, loss="minimax", n_critic=5, lr_d=5e-3, lr=1e-6), "grid", {"steps": 300}),
        (ganvas.GAN(**FAST), "digits", {"steps": 300}),
        (ganvas.GAN(**FAST, loss="least-squares"), "digits", {"steps": 300}),
        (ganvas.GAN(**FAST, loss="hinge"), "digits", {"steps": 300}),
        (ganvas.GAN(**FAST, loss="relativistic"), "digits", {"steps": 300}),
    ),
    "critic's slope": (
        (ganvas.WGAN(**GAME, net="mlp", initial_critic_steps=20, weight_clip=1.0, lr=3e-3), "digits", {"steps": 250}),
        (ganvas.WGAN(**GAME, net="mlp", initial_critic_steps=20, weight_clip=1e-4, depth=4), "digits", {"steps": 250}),
    ),
    "learning rate": (
        (ganvas.VAE(**SMALL, lr=0.2), "digits", {"steps": 500}),
        (ganvas.GAN(**GAME, lr=0.05), "digits", {"steps": 400}),
    ),
    "oscillation": (
        (ganvas.GAN(**RING, lr=1e-3, betas=(0.9, 0.999)), "ring", {"steps": 800, "ema_decay": 0.9}),
        (ganvas.GAN(**RING, lr=1e-3, betas=(0.9, 0.999), loss="hinge"), "ring", {"steps": 800, "ema_decay": 0.9}),
    ),
    "speckle": (
        (ganvas.R3GAN(**CONV, net="conv"), "emoji-16", {"steps": 250, "batch_size": 32}),
        (ganvas.R3GAN(**CONV, net="conv"), "landscapes", {"steps": 250, "batch_size": 32}),
    ),
    "translations alike": (
        (
            ganvas.CycleGAN(**PAIR, lr=3e-3, cycle_weight=1e-3, identity_weight=0, enlarge=1, flip=False),
            "circles+squares",
            {"steps": 400, "batch_size": 8},
        ),
        (ganvas.DiscoGAN(**PAIR, lr=3e-3, reconstruction_weight=0), "circles+squares",
        {"steps": 400, "batch_size": 16}),
    ),
}  # fmt: skip
HEALTHY: dict[str, tuple[Case, ...]] = {
    "vae": ((ganvas.VAE(**SMALL), "digits", {"steps": 500}),),
    "iwae": ((ganvas.IWAE(**SMALL), "digits", {"steps": 500}),),
    "betatcvae": ((ganvas.BetaTCVAE(**SMALL, beta=2.0), "digits", {"steps": 500}),),
    "autoencoder": ((ganvas.Autoencoder(**SMALL), "digits", {"steps": 500}),),
    "gan": (
        (ganvas.GAN(**GAME, lr=1e-3, norm="batch", r1=0.1), "digits", {"steps": 800, "ema_decay": 0.99}),
        (ganvas.GAN(**GAME, lr=1e-3, norm="batch", r1=0.1, loss="minimax"), "digits",
        {"steps": 800, "ema_decay": 0.99}),
    ),
    "dcgan": (
        (ganvas.DCGAN(net="conv", width=16, latent=16, lr=1e-3), "digits", {"steps": 500, "ema_decay": 0.99}),
        (ganvas.DCGAN(), "digits", {"steps": 1000}),
    ),
    "wgan": ((
        ganvas.WGAN(**GAME, net="mlp", n_critic=3, initial_critic_steps=20, weight_clip=0.1, lr=3e-3, norm="batch"),
        "digits",
        {"steps": 500, "ema_decay": 0.99},
    ),),
    "wgangp": ((ganvas.WGANGP(**GAME, net="mlp", n_critic=3, lr=5e-4), "digits", {"steps": 500, "ema_decay": 0.99}),),
    "r3gan": ((ganvas.R3GAN(width=64, latent=2, lr=2e-3, betas=(0.0, 0.9)), "ring",
    {"steps": 500, "ema_decay": 0.99}),),
    "cgan": ((ganvas.CGAN(**GAME, net="mlp", lr=1e-3, norm="batch", r1=0.1), "digits",
    {"steps": 800, "ema_decay": 0.99}),),
}  # fmt: skip
NOISY = {
    f"{name} of {data}": ((model, data, {"steps": 600, "batch_size": 32, "ema_decay": 0.99}),)
    for name, model in (
        ("dcgan", ganvas.DCGAN(**CONV, net="conv", lr=1e-3)),
        ("r3gan", ganvas.R3GAN(**CONV, net="conv", lr=2e-3)),
    )
    for data in ("textures", "sprites", "landscapes", "emoji-16")
}
"""data that are noisy themselves, pixel art, and drawings"""
OTHERS: dict[str, tuple[Case, ...]] = {
    "gan, squares and hinge": tuple(
        (ganvas.GAN(**GAME, lr=1e-3, norm="batch", r1=0.1, loss=loss), "digits", {"steps": 800, "ema_decay": 0.99})
        for loss in ("least-squares", "hinge")
    ),
    "cyclegan": (
        (ganvas.CycleGAN(**PAIR, lr=1e-3, enlarge=1, flip=False), "circles+squares", {"steps": 500, "batch_size": 8}),
        (ganvas.CycleGAN(width=8, blocks=1, lr=1e-3), "circles+squares", {"steps": 300, "batch_size": 4}),
    ),
    "discogan": (
        (ganvas.DiscoGAN(width=8, lr=1e-3), "circles+squares", {"steps": 500, "batch_size": 16}),
        (ganvas.DiscoGAN(width=8, lr=1e-3, reconstruct="none"), "circles+squares", {"steps": 500, "batch_size": 16}),
    ),
}
HEALTHY |= NOISY | OTHERS
LINES = 60
"""of a run's log"""
NOISE = 1.25
"""bytes of samples, a multiple of the data's, above which they are noise"""


def run(model: Model, data: str, options: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Train, then measure: the log with what the doctor does not see."""
    shutil.rmtree(folder, ignore_errors=True)
    every = max(10, options["steps"] // LINES * 10)
    try:
        ganvas.train(
            model,
            load_source(data),
            folder=folder,
            seed=seed,
            checkpoint_every=every,
            keep="last",
            device="cpu",
            quiet=True,
            **options,
        )
    except DivergenceError:
        return {"lines": read_log(folder), "measured": {}}
    return {"lines": read_log(folder), "measured": measure(folder, data)}


def load_source(data: str, split: str = "train") -> Any:
    """What is trained on: a data set, a drawing, emoji of 16 pixels, or two of these joined by +."""
    if "+" in data:
        return tuple(load_source(part, split) for part in data.split("+"))
    if data in DRAWINGS:
        return draw(data, 1000, split)
    name, _, size = data.partition("-")
    return load(name, DataOptions(split=split, size=size or None))


def jpeg_bytes(x: torch.Tensor) -> int:
    """Bytes of a JPEG of some images in colour, of which noise takes many."""
    file = BytesIO()
    Image.fromarray(x.movedim(1, 3).flatten(0, 1).numpy()).save(file, "JPEG")
    return file.tell()


def measure_pair(folder: Path, data: str) -> dict[str, float]:
    """How many targets are the nearest of some translation, as a share of those that are of a held-out target.

    Of the direction where that is fewest.
    """
    trained, distinct = ganvas.load(folder), {}
    known, other = load_source(data), load_source(data, "test")
    for i, to in enumerate("AB"):
        if to not in trained.directions:
            continue
        fake = trained.translate(other[1 - i], to=to).x
        targets = known[i].x.flatten(1).float()
        nearest = [torch.cdist(x[:500].flatten(1).float(), targets).argmin(1) for x in (fake, other[i].x)]
        distinct[to] = len(nearest[0].unique()) / len(nearest[1].unique())
    return {"distinct": min(distinct.values())}


def measure(folder: Path, data: str) -> dict[str, float]:
    """What the doctor does not see.

    `explained`  where there is an encoder, the share of held-out examples' variance that reconstructions explain
    `classes`    of the data's `of`, which have 2% of 1,000 samples each: that of the nearest training example
    `far`        distance of the samples from the data, as a multiple of that of held-out examples
    `bytes`      of a JPEG of samples in colour, a multiple of those of as many held-out images
    `distinct`   of translations: see `measure_pair`
    """
    if "+" in data:
        return measure_pair(folder, data)
    trained, known, test = ganvas.load(folder), load_source(data).sample(5000, 0), load_source(data, "test")
    values = {}
    if isinstance(trained.model, EncoderModel):
        x = test.x[:1000].float()
        rest = (trained.reconstruct(test.select(slice(1000))).x[: len(x)].float() - x).square().mean()
        values["explained"] = 1 - (rest / (x - x.mean(0)).square().mean()).item()
    fake, x = trained.sample(1000, seed=1).x.flatten(1).float(), known.x.flatten(1).float()
    assert known.labels is not None
    shares = known.labels[torch.cdist(fake, x).argmin(1)].bincount(minlength=len(known.classes)) / len(fake)
    n = min(len(test), len(fake))
    floor = sliced_wasserstein(test.x[:n].flatten(1).float(), x[:n])
    far = sliced_wasserstein(fake[:n], x[:n]) / floor
    if trained.shape[0] == 3:
        n = min(len(test), 200)
        values["bytes"] = jpeg_bytes(trained.sample(n, seed=1).x) / jpeg_bytes(test.x[:n])
    n = min(len(test), len(fake))
    return values | {"classes": (shares > 0.02).sum().item(), "of": len(known.classes), "far": far}


def is_sick(measured: dict[str, float]) -> bool:
    """Whether the measure says that a run has failed; one that ended early has."""
    if "explained" in measured:
        return measured["explained"] < 0.1
    if "distinct" in measured:
        return measured["distinct"] < 0.2
    if "bytes" in measured:
        return measured["bytes"] > NOISE
    return not measured or measured["classes"] <= measured["of"] / 2 or measured["far"] > 4


def alarms(case: Case, lines: list[dict[str, Any]], ever: bool) -> set[str]:
    """The diseases that the doctor finds at the end of a run, or ever in it."""
    model, _, options = case
    ends = range(1, len(lines) + 1) if ever else [len(lines)]
    return {
        finding.condition for n in ends for finding in examine(model, options["steps"], lines[:n]) if finding.is_alarm
    }


def expected_alarms(measured: dict[str, float]) -> set[str]:
    """What is so of a healthy run: an autoencoder rebuilds well, but N(0, I) is not where its codes are."""
    return {"codes far from N(0, I)"} if "explained" in measured and measured["far"] > 4 else set()


def table(title: str, cases: dict[str, Case], results: dict[str, dict[str, Any]], parities: tuple[int, ...]) -> None:
    """For runs with seeds of these parities how many are sick, in how many it was seen, and what else was said.

    Of sick runs the last word counts, of healthy ones every alarm from the first line on.
    """
    names = [name for name in results if seed_of(name) % 2 in parities]
    verdicts = {name: alarms(cases[name], results[name]["lines"], name.startswith("healthy")) for name in names}
    rows, false_alarms = [], 0
    for condition in SICK:
        runs = [name for name in names if name.startswith(condition)]
        hits = sum(condition in verdicts[name] for name in runs)
        others = Counter(alarm for name in runs for alarm in verdicts[name] - {condition})
        rows.append((condition, runs, hits, f"{hits / max(1, len(runs)):.0%}", others))
    for model in HEALTHY:
        runs = [name for name in names if name.startswith(f"healthy-{model}-")]
        wrong = sum(bool(verdicts[name] - expected_alarms(results[name]["measured"])) for name in runs)
        rows.append((f"healthy {model}", runs, wrong, "", Counter(alarm for name in runs for alarm in verdicts[name])))
        false_alarms += wrong
    print_table(title, ("runs", "sick", "found", "recall", "also said"), [
        (name, f"{len(runs)}", f"{sum(is_sick(results[run]['measured']) for run in runs)}", f"{hits}", recall,
         ", ".join(f"{alarm} {count}" for alarm, count in others.most_common()))
        for name, runs, hits, recall, others in rows if runs
    ])  # fmt: skip
    healthy = sum(name.startswith("healthy") for name in names)
    print(f"false alarms: {false_alarms} of {healthy} healthy runs, {false_alarms / max(1, healthy):.1%}")


def seed_of(name: str) -> int:
    return int(name.rpartition("-")[2])


def make_cases(first: int = 0) -> dict[str, Case]:
    """All runs by name; where there are two settings they take turns, so that both are among odd and even seeds."""
    named = {disease: (cases, 5 * len(cases)) for disease, cases in SICK.items()}
    named |= {f"healthy-{model}": (cases, 4) for model, cases in HEALTHY.items()}
    return {
        f"{name}-{first + seed}": cases[seed // 2 % len(cases)]
        for name, (cases, n) in named.items() for seed in range(n)
    }  # fmt: skip


def main() -> None:
    arguments = parser(__doc__, out="doctor", workers=1)
    arguments.add_argument("--only", default="", help="runs whose name has this in it")
    arguments.add_argument("--unseen", action="store_true", help="seeds that no limit was set by")
    words = arguments.parse_args()
    cases = make_cases(UNSEEN if words.unseen else 0)
    jobs = {
        name: (*case, seed_of(name), words.out / name) for name, case in cases.items() if words.only in name
    }  # fmt: skip
    results = collect(run, jobs, words.out, words.workers)
    halves = (("even seeds, on which limits were set", (0,)), ("odd seeds, the result", (1,)))
    for title, parities in (("unseen seeds, the result", (0, 1)),) if words.unseen else halves:
        table(title, cases, results, parities)


if __name__ == "__main__":
    main()
