"""CTGAN's training step on a table against the loop that its paper describes, in plain PyTorch.

    python3 dev.py run python benchmarks/table_step_time.py ../shared/data/tables/adult_train.csv.gz [--rounds 5]

Xu et al., Modeling Tabular Data using Conditional GAN, arXiv:1907.00503: batches of 500 rows, packs of 10, both
networks with two hidden layers of 256, Adam with 2e-4, gradient penalty 10.  The plain side is written from the paper
in the way that first comes to mind: modes of a Gaussian mixture (scikit-learn's, ten at most) for numbers, rows by
condition from lists of their indices, an activation a column, a cross-entropy a column of the condition.  Ours has ten
intervals in place of modes, so that both networks are about as wide: the numbers are printed.  Both sides compute in
this process with as many threads, in turns.  A TVAE of the same paper is compared likewise with our VAE.
"""

import time
import warnings
from collections.abc import Iterator
from statistics import median
from typing import Any

import ganvas  # before torch: it sets how torch's threads wait

import numpy as np
import torch
from sklearn.mixture import BayesianGaussianMixture
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gumbel_softmax, one_hot

from ganvas.config import TrainConfig
from ganvas.data import load
from ganvas.data.tables.table import Table
from ganvas.training.loop import initialize_state, train
from _support import parser, print_table

BATCH, PACK, WIDTH, LATENT = 500, 10, 256, 128
MODE_ROWS = 3000
"""rows that the plain side fits its modes to: all would take minutes"""
Spans = list[tuple[int, int, bool]]
"""where a column's one-hot numbers begin and end, and whether a value within its mode stands before them"""


def encode_plain(table: Table) -> tuple[Tensor, Spans]:
    """Rows as the paper has them: a value within its mode and the mode of numbers, one-hot categories."""
    parts, spans, start = [], Spans(), 0
    for x, column in zip(table.x.numpy().T, table.learnt_columns, strict=True):
        if column.is_category:
            codes = torch.from_numpy(np.nan_to_num(x, nan=len(column.categories))).long()
            part = one_hot(codes).float()
            spans.append((start, start + part.shape[1], False))
        else:
            values = np.nan_to_num(x, nan=np.nanmean(x))[:, None]
            mixture = BayesianGaussianMixture(
                n_components=10, weight_concentration_prior=1e-3, random_state=0, max_iter=300
            )
            with warnings.catch_warnings(action="ignore"):  # that it has not converged
                mixture.fit(values[:MODE_ROWS])
            mode = mixture.predict(values)
            width = 4 * np.sqrt(mixture.covariances_.flatten())[mode]
            scalar = ((values[:, 0] - mixture.means_.flatten()[mode]) / width).clip(-0.99, 0.99)
            modes = one_hot(torch.from_numpy(mode), 10).float()
            part = torch.cat([torch.from_numpy(scalar).float()[:, None], modes], 1)
            spans.append((start + 1, start + 11, True))
        parts.append(part)
        start += part.shape[1]
    return torch.cat(parts, 1), spans


class Residual(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.layers: nn.Module = nn.Sequential(nn.Linear(n, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.layers(x), x], 1)


class Conditions:
    """Training-by-sampling, section 4.3: categories by the logarithm of their frequency, and rows that have them."""

    def __init__(self, x: Tensor, spans: Spans) -> None:
        self.categories: list[tuple[int, int]] = [(a, b) for a, b, is_number in spans if not is_number]
        self.n: int = sum(b - a for a, b in self.categories)
        self.rows: list[list[np.ndarray]] = [
            [np.flatnonzero(x[:, j].numpy()) for j in range(a, b)] for a, b in self.categories
        ]
        logs = [np.log([len(r) + 1 for r in column]) for column in self.rows]
        self.shares: list[np.ndarray] = [shares / shares.sum() for shares in logs]
        self.starts: np.ndarray = np.cumsum([0] + [b - a for a, b in self.categories])
        self.random: np.random.Generator = np.random.default_rng(0)

    def draw(self) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """One-hot conditions of a batch, their columns and categories."""
        column = self.random.integers(len(self.categories), size=BATCH)
        category = np.array([self.random.choice(len(self.shares[c]), p=self.shares[c]) for c in column])
        condition = torch.zeros(BATCH, self.n)
        condition[torch.arange(BATCH), torch.from_numpy(self.starts[column] + category)] = 1
        return condition, column, category

    def draw_rows(self, column: np.ndarray, category: np.ndarray) -> Tensor:
        """A row for each condition."""
        return torch.tensor([self.random.choice(self.rows[c][k]) for c, k in zip(column, category, strict=True)])

    def loss(self, y: Tensor, condition: Tensor, column: np.ndarray) -> Tensor:
        """The cross-entropy of the columns that are asked for."""
        total = torch.zeros(())
        for c, (a, b) in enumerate(self.categories):
            mine = torch.from_numpy(column == c)
            if mine.any():
                target = condition[mine, self.starts[c] : self.starts[c + 1]].argmax(1)
                total = total + cross_entropy(y[mine, a:b], target, reduction="sum") / BATCH
        return total


def activate(y: Tensor, spans: Spans) -> Tensor:
    """What G's last layer makes of its outputs, section 4.2."""
    parts = []
    for a, b, is_number in spans:
        if is_number:
            parts.append(y[:, a - 1 : a].tanh())
        parts.append(gumbel_softmax(y[:, a:b], tau=0.2))
    return torch.cat(parts, 1)


def gradient_penalty(D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """That of packed rows."""
    real, fake = real.view(-1, PACK * real.shape[1]), fake.view(-1, PACK * fake.shape[1])
    u = (real + torch.rand(len(real), 1) * (fake - real)).requires_grad_()
    (gradient,) = torch.autograd.grad(D(u).sum(), u, create_graph=True)
    return 10 * ((gradient.norm(2, 1) - 1) ** 2).mean()


def plain_ctgan(x: Tensor, spans: Spans) -> Iterator[None]:
    """One training step after the other."""
    conditions, d = Conditions(x, spans), x.shape[1]
    n = LATENT + conditions.n
    G = nn.Sequential(Residual(n), Residual(n + WIDTH), nn.Linear(n + 2 * WIDTH, d))
    D = nn.Sequential(
        nn.Linear(PACK * (d + conditions.n), WIDTH), nn.LeakyReLU(0.2), nn.Dropout(0.5),
        nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(WIDTH, 1),
    )  # fmt: skip
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.9)) for net in (G, D))

    def judge(rows: Tensor) -> Tensor:
        return D(rows.view(-1, PACK * rows.shape[1])).mean()

    while True:
        condition, column, category = conditions.draw()
        fake = activate(G(torch.cat([torch.randn(BATCH, LATENT), condition], 1)), spans)
        fake = torch.cat([fake, condition], 1)
        real = torch.cat([x[conditions.draw_rows(column, category)], condition], 1)
        loss = judge(fake) - judge(real) + gradient_penalty(D, real, fake.detach())
        adam_d.zero_grad()
        loss.backward()
        adam_d.step()
        condition, column, _ = conditions.draw()
        y = G(torch.cat([torch.randn(BATCH, LATENT), condition], 1))
        fool = -judge(torch.cat([activate(y, spans), condition], 1))
        adam_g.zero_grad()
        (fool + conditions.loss(y, condition, column)).backward()
        adam_g.step()
        yield


def plain_tvae(x: Tensor, spans: Spans) -> Iterator[None]:
    """The paper's TVAE: hidden layers of 128, 128 latent numbers."""
    n, d = 128, x.shape[1]
    f = nn.Sequential(nn.Linear(d, n), nn.ReLU(), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, 2 * n))
    g = nn.Sequential(nn.Linear(n, n), nn.ReLU(), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, d))
    sigma = nn.Parameter(0.1 * torch.ones(d))
    adam = torch.optim.Adam([*f.parameters(), *g.parameters(), sigma], 1e-3, weight_decay=1e-5)
    while True:
        for index in torch.randperm(len(x)).split(BATCH)[:-1]:
            batch = x[index]
            mean, log_var = f(batch).chunk(2, 1)
            y = g(mean + torch.randn_like(mean) * (log_var / 2).exp())
            loss = torch.zeros(())
            for a, b, is_number in spans:
                if is_number:
                    error = batch[:, a - 1] - y[:, a - 1].tanh()
                    loss = loss + (error**2 / 2 / sigma[a - 1] ** 2).sum() + sigma[a - 1].log() * BATCH
                loss = loss + cross_entropy(y[:, a:b], batch[:, a:b].argmax(1), reduction="sum")
            kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum()
            adam.zero_grad()
            ((2 * loss + kl) / BATCH).backward()
            adam.step()
            yield


def ours(model: Any, table: Table) -> tuple[Iterator[Any], int]:
    """Our steps, and how many numbers a row has."""
    data = model.preprocess(table)
    state = initialize_state(model, data.shape, 0, torch.device("cpu"))
    return train(model, data, TrainConfig(batch_size=BATCH, steps=10**9), state), data.shape[0]


def main() -> None:
    words = parser(__doc__, data="a table", rounds=5, steps=20, threads=0)
    given = words.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    table = load(str(given.data))
    assert isinstance(table, Table)
    x, spans = encode_plain(table)
    ctgan, n_ours = ours(ganvas.CTGAN(), table)
    vae, n_vae = ours(ganvas.VAE(width=128, depth=2, latent=128), table)
    print(f"numbers of a row: {x.shape[1]} in the plain loops, {n_ours} in our CTGAN, {n_vae} in our VAE")
    sides = {"CTGAN, plain": plain_ctgan(x, spans), "CTGAN": ctgan, "TVAE, plain": plain_tvae(x, spans), "VAE": vae}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(given.rounds + 1):
        for name, steps in sides.items():
            start = time.perf_counter()
            for _ in range(given.steps):
                next(steps)
            if i:
                seconds[name].append((time.perf_counter() - start) / given.steps)
    per_epoch, middle = len(x) // BATCH, {name: median(values) for name, values in seconds.items()}
    rows = []
    for name in sides:
        plain, one = middle["CTGAN, plain" if "CTGAN" in name else "TVAE, plain"], middle[name]
        rows.append((name, f"{1000 * one:.1f}", f"{per_epoch * one:.2f}", f"{plain / one:.2f}"))
    print_table("", ("ms a step", "s an epoch", "times as fast as plain"), rows)


if __name__ == "__main__":
    main()
