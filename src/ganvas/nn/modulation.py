"""Self-modulation: batch norm in a generator whose gains and shifts are functions of its own noise.

Chen, Lucic, Houlsby & Gelly, On Self Modulation for Generative Adversarial Networks, arXiv:1810.01365, section 2:

    h' = gamma(z) * (h - mean) / deviation + beta(z),      gamma(z) = g + V max(0, U z + a),

and beta(z) likewise, with one hidden layer of 32 units for each norm.  All layers see z, not the first alone, so that
an example's colours and fine detail need not pass through its coarsest maps.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

HIDDEN = 32
"""units of the network between z and the gains, as in the paper"""


class ModulatedBatchNorm(nn.Module):
    """Batch norm of n maps, with gains and shifts for each example from z, a vector of `dim` numbers."""

    def __init__(self, n: int, dim: int) -> None:
        super().__init__()
        self.norm: nn.BatchNorm2d = nn.BatchNorm2d(n)
        self.modulation: nn.Sequential = nn.Sequential(
            nn.Linear(dim, HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, 2 * n)
        )

    def forward(self, h: Float[Tensor, "b n height width"], z: Float[Tensor, "b dim"]) -> Tensor:
        gain, shift = self.modulation(z)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(shift, self.norm(h), 1 + gain)


class ModulatedSequential(nn.Sequential):
    """Layers in a row, (b, dim) -> ..., whose norms see the input of the first."""

    def forward(self, z: Float[Tensor, "b dim"]) -> Tensor:
        h: Tensor = z
        for layer in self:
            h = layer(h, z) if isinstance(layer, ModulatedBatchNorm) else layer(h)
        return h
