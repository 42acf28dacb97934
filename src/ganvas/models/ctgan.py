"""CTGAN.  Xu et al., Modeling Tabular Data using Conditional GAN, arXiv:1907.00503.

    min_G max_D  E_x D(x|y)  -  E_z D(G(z|y)|y)  -  gp E_u ( |grad D(u)| - 1 )^2,     G also descends  -log G(z|y)_y

A condition y is a category of one column, e.g. sex=Female.  Rows of a batch are drawn by conditions, rare ones more
often than they are (training-by-sampling, section 4.3): a column is chosen uniformly, a category of it by the logarithm
of its frequency, and a row that has it.  The cross-entropy makes G follow its condition.  D judges `pack` rows together
(PacGAN, section 4.4), which is against mode collapse.  Categories are Gumbel-softmax.  Numbers have intervals of equal
counts in place of modes (`data/tables/encoding.py`).  Where no column has categories, intervals are conditions.
"""

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..config import TrainConfig
from ..data import Dataset
from ..data.tables.table import Table
from ..distributions.tables import GumbelOutput
from ..errors import UserError
from ..fields import Fraction, Positive, Size, Weight
from ..model import Batch, Batches, Moves, Shape, device_of, minimize
from ..nn.mlp import Norm, mlp
from ..objectives.adversarial import generator_loss
from ..objectives.penalties import squared_gradients
from ..randomness import draw_rows
from ..table_shape import TableShape
from ._gan import Adversarial
from ._latent import Codes, Examples, Rows
from ._statistics import sample_statistics

TINY = torch.finfo(torch.float32).tiny
"""least probability that has a logarithm; one below it has no gradient, so it is far below what a G ever has"""


class CTGAN(Adversarial):
    """The GAN of tables: it draws rows that have the category it is asked for."""

    tables_only: ClassVar[bool] = True
    ignored_options: ClassVar[tuple[str, ...]] = (
        "noise_distribution", "norm", "norm_d", "augment", "augment_target", "augment_span", "keep_discriminator",
        "fine_convolutions",
    )  # fmt: skip
    fixed_options: ClassVar[dict[str, object]] = Adversarial.fixed_options | {"loss": "wasserstein"}
    default_training: ClassVar[TrainConfig] = TrainConfig(batch_size=500, steps=6000)
    condition_numbers: ClassVar[int] = 1
    has_normal_prior = False

    net: Literal["mlp"] = "mlp"
    latent: Size = 128
    width: Size = 256
    """units of a hidden layer of G and of D"""
    n_critic: Size = 1
    """updates of the critic per update of G"""
    gp: Weight = 10.0
    """weight of the gradient penalty"""
    pack: Size = 10
    """rows that D judges together"""
    dropout: Fraction = 0.5
    """share of D's hidden units that are left out at random"""
    lr: Positive = 2e-4
    betas: tuple[Fraction, Fraction] = (0.5, 0.9)

    def validate_data(self, data: Dataset) -> None:
        if not isinstance(data, Table):
            raise UserError(f"ctgan learns tables with columns, and {data.name} holds {data.kind}s: use wgangp")
        super().validate_data(data)
        if not self.gp:
            raise UserError("ctgan bounds its critic by gp: give one, e.g. gp=10")
        for name in self.own_networks:
            raise UserError(f"ctgan has networks that see conditions: leave out `{name}`")

    def norms(self, shape: Shape) -> tuple[Norm, Norm]:
        return "batch", "none"

    def preprocess(self, data: Dataset, *, deterministic: bool = False) -> Dataset:
        """The table, of which an epoch draws rows by conditions, with ten intervals a number."""
        table = super().preprocess(data)
        assert isinstance(table, Table)
        return table.by_condition()

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        assert isinstance(shape, TableShape)
        return {"G": RowGenerator(shape, self.latent, self.width, self.depth), "D": RowCritic(shape, self)}

    def step(self, batches: Batches, global_step: int, G: nn.Module, D: nn.Module) -> Moves:
        """Sections 4.3 and 4.4."""
        for _ in range(self.n_critic):
            batch = next(batches)  # rows by training-by-sampling, with their conditions
            x, y = batch.x, self.conditions_of(batch)
            with torch.no_grad():
                fake = G(self.with_conditions(self.noise(len(x), device=x.device), y))
            pack, condition = self.pack, y.view(-1, self.pack)
            yield self.discriminator_move(
                D, x.view(len(x) // pack, -1), fake.view(len(x) // pack, -1), (condition,), gp=self.gp
            )
        rows = G(self.with_conditions(self.noise(len(x), device=x.device), y))
        follow = -rows.gather(1, y[:, None]).clamp_min(TINY).log().mean()
        fool = generator_loss("wasserstein", D(rows.view(len(x) // self.pack, -1), condition))
        yield minimize(G, fool=fool, follow=follow)

    @staticmethod
    def with_conditions(z: Codes, y: Tensor) -> Float[Tensor, "n d_and_1"]:
        """Noise, and as a last number the place of the condition."""
        return torch.cat([z, y[:, None].to(z.dtype)], 1)

    def sample_prior(self, n: int, shape: Shape, generator: torch.Generator, **networks: Any) -> Codes:
        """Noise and conditions as often as rows have them."""
        table: TableShape = networks["G"].shape
        noise, uniform = draw_rows(
            n, lambda m: (self.noise(m, generator=generator), torch.rand(m, 2, generator=generator))
        )
        return self.with_conditions(noise, table.draw_conditions(uniform))

    def monitor(self, batch: Batch, **networks: Any) -> dict[str, Tensor]:
        """`diversity` of samples of the conditions of the batch beside its rows."""
        z = self.with_conditions(self.noise(len(batch.x), device=batch.x.device), self.conditions_of(batch))
        return sample_statistics(self.generate(z, **networks), batch.x)

    def discriminator_statistics(self, batch: Batch, G: nn.Module, D: nn.Module) -> dict[str, float]:
        """`input_gradient`: mean norm of D's gradient between packs of real rows and of fake ones."""
        n, y = len(batch.x) // self.pack, self.conditions_of(batch)
        fake = G(self.with_conditions(self.noise(len(y), device=y.device), y))
        x, fake, y = (t[: n * self.pack].reshape(n, -1) for t in (batch.x, fake.detach(), y))
        u = torch.lerp(x, fake, torch.rand(n, 1, device=x.device)).requires_grad_()
        return {"input_gradient": squared_gradients(D(u, y), u).sqrt().mean().item()}

    @staticmethod
    def conditions_of(batch: Batch) -> Tensor:
        """The conditions of a batch."""
        assert batch.y is not None
        return batch.y

    def preview(self, batch: Batch, G: nn.Module) -> Rows:
        """Rows of the table, and samples of the same conditions."""
        z = self.with_conditions(self.noise(len(batch.x), device=device_of(G)), self.conditions_of(batch))
        return torch.stack([batch.x, G(z)])


class RowGenerator(nn.Module):
    """G(z, y): each hidden layer, with batch norm, also has the inputs of those before it (section 4.4)."""

    def __init__(self, shape: TableShape, latent: int, width: int, depth: int) -> None:
        super().__init__()
        self.shape: TableShape = shape
        sizes = [latent + len(shape.conditions) + i * width for i in range(depth + 1)]
        self.hidden: nn.ModuleList = nn.ModuleList(
            nn.Sequential(nn.Linear(n, width), nn.BatchNorm1d(width), nn.ReLU()) for n in sizes[:-1]
        )
        self.last: nn.Linear = nn.Linear(sizes[-1], *shape)
        self.output: GumbelOutput = GumbelOutput(shape)

    def forward(self, z: Codes) -> Examples:
        h = torch.cat([z[:, :-1], one_hot_conditions(self.shape, z[:, -1].round().long()).to(z.dtype)], 1)
        for layer in self.hidden:
            h = torch.cat([layer(h), h], 1)
        x: Tensor = self.output(self.last(h))
        return x


class RowCritic(nn.Module):
    """D(x, y) of packed rows and their conditions."""

    def __init__(self, shape: TableShape, model: CTGAN) -> None:
        super().__init__()
        self.shape: TableShape = shape
        inputs = model.pack * (shape[0] + len(shape.conditions))
        sizes = [inputs, *[model.width] * model.depth, 1]
        self.net: nn.Module = mlp(sizes, activation="leaky-relu", dropout=model.dropout)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        condition = one_hot_conditions(self.shape, y.flatten()).to(x.dtype).view(len(x), -1)
        logits: Tensor = self.net(torch.cat([x, condition], 1))
        return logits


def one_hot_conditions(shape: TableShape, y: Tensor) -> Tensor:
    """Conditions, places in a row, among all that can be asked for: n x m."""
    one_hot = y[:, None] == torch.arange(shape[0], device=y.device)
    return torch.cat([one_hot[:, shape.entry_slices[i]] for i in shape.condition_columns], 1)
