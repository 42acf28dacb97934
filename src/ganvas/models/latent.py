"""What models with a latent vector z have in common."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..model import STRICT, Model
from ..nets import Depth, Net, Width


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LatentModel(Model):
    """A model whose networks go between examples and vectors z ~ N(0, I)."""

    latent: Annotated[int, Field(gt=0, le=65536)] = 32
    """dimensions of the latent vector z"""
    net: Net = "auto"
    """kind of network; auto is conv for images, mlp for vectors"""
    width: Width = None
    """channels of the first convolution (32), or units of an MLP's hidden layer (400)"""
    depth: Depth = 1
    """hidden layers of an MLP"""

    def noise(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """z ~ N(0, I), on the generator's device."""
        return torch.randn(n, self.latent, generator=generator, device=generator.device)
