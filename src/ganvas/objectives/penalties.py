"""Penalties on the gradient of a discriminator D by its input, each example's own.

    gradient penalty   E ( |grad D(u)| - 1 )^2, u uniform on the segment between a real and a fake example
                       (Gulrajani et al., arXiv:1704.00028, equation 3)
    R1, R2             E |grad D(x)|^2 / 2 on real, on fake examples  (Mescheder et al., arXiv:1801.04406, equation 9)

The norm is that of all numbers of an example; D must judge each example by itself, so no batch norm.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .precision import at_least_float32


def gradient_penalty(
    D: nn.Module, x: Float[Tensor, "b *shape"], fake: Float[Tensor, "b *shape"], *condition: Tensor
) -> Float[Tensor, ""]:
    """E (|grad D(u)| - 1)^2 with one u an example; `condition` are D's further inputs, such as labels."""
    alpha = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype)
    u = torch.lerp(x, fake.to(x.dtype), alpha).detach().requires_grad_()
    tiny = torch.finfo(torch.float32).tiny  # the root of 0 has no gradient
    return ((squared_gradients(D(u, *condition), u) + tiny).sqrt() - 1).square().mean()


def squared_gradients(logits: Float[Tensor, "b 1"], x: Float[Tensor, "b *shape"]) -> Float[Tensor, " b"]:
    """|grad_x D(x)|^2 of each example, in float32 or wider, itself differentiable.  `logits` = D(x)."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return at_least_float32(gradient.flatten(1)).square().sum(1)
