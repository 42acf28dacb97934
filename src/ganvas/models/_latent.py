"""What models with a latent vector z have in common, and what conditional ones ask of the data."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Dataset
from ..errors import UserError
from ..fields import Size
from ..model import Batch, GenerativeModel, Model, Shape
from ..nn import Depth, Net, Width, resolve_architecture
from ..nn.conv import feature_map_shapes
from ..randomness import draw_rows
from ..table_shape import TableShape

Examples = Float[Tensor, "n *shape"]
Codes = Float[Tensor, "n d"]
Rows = Float[Tensor, "rows n *shape"]
Network = Callable[..., Tensor]


def normal(n: int, d: int, generator: torch.Generator) -> Codes:
    """n rows of d numbers from N(0, 1)."""
    return draw_rows(n, lambda m: (torch.randn(m, d, generator=generator),))[0]


class LatentModel(Model[Dataset, Batch, Shape]):
    """A model whose networks go between examples and vectors z ~ N(0, I)."""

    latent: Size = 32
    """dimensions of the latent vector z; of a spatial net, at each place of its map"""
    net: Net = "auto"
    """kind of network; auto is mlp for vectors, else conv; resize is conv with a decoder that draws no
    checkerboard, residual has residual blocks between interpolations, spatial is conv with a map of codes"""
    width: Width = None
    """channels of the first convolution (32), or units of an MLP's hidden layer (400)"""
    depth: Depth = 1
    """hidden layers of an MLP"""

    def unused_options(self, shape: Shape) -> dict[str, str]:
        is_mlp = resolve_architecture(self.net, shape) == "mlp"
        return super().unused_options(shape) | ({} if is_mlp else {"depth": "without net=mlp"})

    def sample_prior(self, n: int, shape: Shape, generator: torch.Generator, **_: Any) -> Codes:
        """z ~ N(0, I)."""
        return normal(n, self.code_size(shape), generator)

    def draw(self, z: Codes, shape: TableShape, noise: Tensor, *labels: Tensor, **networks: Any) -> Examples:
        """Rows of a table, with entries drawn by uniform noise, n x `shape.noise_size`, from what is generated."""
        assert isinstance(self, GenerativeModel)
        return shape.draw(self.generate(z, *labels, **networks), noise)

    def code_size(self, shape: Shape) -> int:
        """Numbers in the code of an example of this shape."""
        return prod(self.code_shape(shape))

    def code_shape(self, shape: Shape) -> Shape:
        """Shape of that code: (latent,), or with net=spatial a map, (latent, height, width)."""
        if self.net != "spatial":
            return (self.latent,)
        resolve_architecture(self.net, shape)  # refuses vectors
        return (self.latent, *feature_map_shapes(shape, 1, 16)[-1][1:])


def validate_labels(data: Dataset, reason: str, alternative: str = "") -> None:
    """UserError, with the reason, unless the examples have labels, of two classes or more.

    The message ends in what the notes of the data say of labels and classes.
    """
    if len(data.classes) > 1 and data.labels is not None:
        return
    problem = f"one class only, {data.classes[0]}" if data.classes else "no labels"
    notes = "; ".join(note for note in data.notes if "label" in note or "class" in note or "folder" in note)
    raise UserError(
        f"{data.name} has {problem}, and {reason}: give a folder with a folder a class, or with a labels.csv, or an "
        f"array of labels{alternative}" + (f".  Seen: {notes}" if notes else "")
    )
