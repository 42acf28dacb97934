"""The GANs whose loss, penalties and tricks are the user's choice: gan, dcgan and cgan."""

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ..data import Dataset
from ..errors import UserError
from ..fields import Positive, Weight
from ..model import Batch, Move, Shape, minimize
from ..nn.discriminator import add_spectral_norm
from ..objectives.adversarial import Loss, generator_loss
from ._gan import Adversarial, Objective


class Game(Adversarial):
    """A GAN with any of the losses, and what keeps D's gradient in bounds."""

    fixed_options: ClassVar[dict[str, Any]] = {"initial_critic_steps": 1}

    n_critic: Annotated[int, Field(gt=0)] = 1
    """updates of D per update of G: the paper's k"""
    loss: Loss = "non-saturating"
    """loss of the two players; relativistic compares each real example with a fake one"""
    gp: Weight = 0.0
    """weight of the gradient penalty, which pulls the norm of D's gradient to 1"""
    r1: Weight = 0.0
    """weight of half the squared gradient of D on real examples"""
    r2: Weight = 0.0
    """weight of half the squared gradient of D on fake examples"""
    penalty_interval: Annotated[int, Field(gt=0)] = 1
    """compute the penalties every so many steps, with as many times the weight (arXiv:1912.04958)"""
    weight_clip: Positive | None = None
    """clip every weight of D to [-c, c] after each of its updates"""
    spectral_norm: bool = False
    """divide every weight of D by its largest singular value; D then has no other normalisation"""
    top_k: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the fakes that G learns from, those that fool D best; it falls to this by 1% an epoch"""

    @property
    def objective(self) -> Objective:
        return Objective(self.loss, self.gp, self.r1, self.r2, self.weight_clip, self.spectral_norm)

    def penalties(self, global_step: int) -> dict[str, float]:
        """The weights of D's penalties in the step after so many others."""
        if global_step % self.penalty_interval:
            return {}
        return {name: self.penalty_interval * weight for name, weight in self.objective.penalties.items()}

    def validate_data(self, data: Dataset) -> None:
        super().validate_data(data)
        bounds = [name for name in ("gp", "weight_clip", "spectral_norm") if getattr(self, name)]
        if self.loss == "wasserstein" and not bounds:
            ways = "gp=10, weight_clip=0.01 or spectral_norm"
            raise UserError(f"loss=wasserstein needs a critic of bounded slope: give {ways}")
        if self.weight_clip is not None and len(bounds) > 1:
            raise UserError(f"{' and '.join(bounds)} are different ways to bound the slope of D: choose one")
        if (interval := self.penalty_interval) > 1 and not self.objective.penalties:
            raise UserError(f"penalty_interval={interval} is the interval of penalties: give gp, r1 or r2 as well")

    def validate_batch_size(self, batch: int, shape: Shape) -> None:
        super().validate_batch_size(batch, shape)
        norm_d = self.norms(shape)[1]
        if self.spectral_norm and norm_d != "none":
            raise UserError(
                f"spectral_norm bounds D's slope by the size of its weights, which norm_d={norm_d} undoes, since its "
                "outputs have the same size whatever the weights: use norm_d=none, or leave out one of them"
            )

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        nets = super().networks(shape, classes)
        return nets | {"D": add_spectral_norm(nets["D"])} if self.spectral_norm else nets

    def select_top_k(self, fake: Tensor, real: Tensor | None, epochs: float) -> tuple[Tensor, Tensor | None]:
        """The logits of the fakes that G learns from, and those of the real examples they are paired with.

        Top-k training (Sinha et al., arXiv:2002.06224, algorithm 1): G forgets its worst fakes.
        """
        n_best = max(1, round(len(fake) * max(self.top_k, 0.99**epochs)))
        if self.top_k == 1 or n_best == len(fake):
            return fake, real
        index = fake.flatten().topk(n_best).indices
        return fake[index], None if real is None else real[index]

    def generator_move(
        self, G: nn.Module, D: nn.Module, x: Tensor, fake: Tensor, batch: Batch, global_step: int, *y: Tensor
    ) -> Move:
        """G descends its loss on fakes, which the relativistic loss compares with the examples x."""
        with torch.no_grad():
            real = D(x, *y) if self.loss == "relativistic" else None
        epochs = global_step * len(batch.x) / max(1, batch.dataset_size)
        logits = self.select_top_k(D(fake, *y), real, epochs)
        return minimize(G, fool=generator_loss(self.loss, *logits))
