"""-log p(x|z) of a Bernoulli decoder for many codes of one image, at the speed of its matrix products.

With l = W h + b the logits, r = 1 where x > 1/2, else 0, and s = 1 - 2 r,

    -log p(x|z)  =  sum_i softplus(l_i) - x_i l_i  =  sum_i log(1 + exp(s_i l_i))  +  sum_i (r_i - x_i) l_i

The signs s go into the image's own copy of W and b, so that every term of the first sum is positive and nothing
cancels; its logarithms are taken once for a group of factors 1 + exp(s_i l_i).  The second sum is 0 for binary x and
otherwise the product of h with a vector.  Codes are columns and every layer has a row of ones, so that a bias costs
nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..distributions.likelihoods import LikelihoodHead

FACTORS_PER_LOG = 16
"""factors under one logarithm: their product overflows where 16 pixels have more than 88 nats"""
CODES_PER_CHUNK, PIXELS_PER_CHUNK = 1000, 400
"""codes and pixels at once: enough for fast matrix products and few calls, few enough for a core's own cache"""
VANISHING_LOGIT = -200.0
"""a logit whose exponential is 0"""
ELEMENTWISE = (nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.ELU, nn.SiLU, nn.GELU, nn.Softplus)
Layer = tuple[nn.Linear, nn.Module | None]
"""a linear layer and what is applied to its outputs"""
FusedDecoder = tuple[nn.Sequential, list[Layer]]
"""modules that work on rows, then the layers that work on columns"""


def split_decoder(decoder: object) -> FusedDecoder | None:
    """A decoder's layers, where it ends in Linear, Unflatten, a Bernoulli's head, all in float32; else None."""
    if not isinstance(decoder, nn.Sequential) or len(decoder) < 3:
        return None
    *body, last, unflatten, head = decoder
    is_bernoulli = isinstance(unflatten, nn.Unflatten) and isinstance(head, LikelihoodHead) and head.name == "bernoulli"
    if not is_bernoulli or not isinstance(last, nn.Linear) or last.weight.dtype != torch.float32:
        return None
    layers: list[Layer] = [(last, None)]
    while body:
        activation = body[-1] if len(body) > 1 and isinstance(body[-1], ELEMENTWISE) else None
        *rest, layer = body if activation is None else body[:-1]
        if not isinstance(layer, nn.Linear):
            break
        layers.insert(0, (layer, activation))
        body = rest
    return nn.Sequential(*body), layers


def fused_nll(decoder: FusedDecoder, x: Float[Tensor, "b *shape"], z: Float[Tensor, "k b d"]) -> Float[Tensor, "k b"]:
    """-log p(x|z) in nats for k codes of each image x, whose pixels lie in [0, 1]."""
    row_modules, layers = decoder
    last, (k, b) = layers[-1][0], z.shape[:2]
    rows = -(-k // -(-k // CODES_PER_CHUNK))  # as many in each step
    weights = [with_bias(layer) for layer, _ in layers[:-1]]
    buffers = [z.new_ones(layer.in_features + 1, rows) for layer, _ in layers]
    logits, nll = z.new_empty(PIXELS_PER_CHUNK, rows), z.new_empty(b, k)
    for i in range(b):
        signed_weight, correction = signed_weights(last, x[i].flatten())
        for j in range(0, k, rows):
            codes = z[j : j + rows, i]
            h = [buffer[:, : len(codes)] for buffer in buffers]
            h[0][:-1] = row_modules(codes).mT
            for weight, (_, activation), inputs, outputs in zip(weights, layers, h, h[1:], strict=False):
                y = torch.mm(weight, inputs, out=outputs[:-1])
                if isinstance(activation, nn.Tanh):
                    y.tanh_()
                elif activation is not None:
                    y.copy_(activation(y))
            softplus_sum = sum_of_softplus(signed_weight, h[-1], logits[:, : len(codes)])
            nll[i, j : j + rows] = softplus_sum + h[-1].mT @ correction
    return nll.mT


def sum_of_softplus(
    weight: Float[Tensor, "p h"], inputs: Float[Tensor, "h n"], buffer: Float[Tensor, "some n"]
) -> Float[Tensor, " n"]:
    """sum_i log(1 + exp(l_i)) of the logits l = weight @ inputs, p x n, computed in parts in `buffer`."""
    total = inputs.new_zeros(inputs.shape[1])
    for part in weight.split(len(buffer)):
        factors = torch.mm(part, inputs, out=buffer[: len(part)]).exp_().add_(1)
        total += factors.unflatten(0, (-1, FACTORS_PER_LOG)).prod(1).log_().sum(0)
    if total.max() < torch.inf:
        return total
    return torch.stack([softplus(part @ inputs).sum(0) for part in weight.split(len(buffer))]).sum(0)


def with_bias(layer: nn.Linear) -> Float[Tensor, "out n"]:
    """A layer's weights with its bias as a further column: n = inputs + 1."""
    bias = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
    return torch.cat([layer.weight, bias[:, None]], 1)


def signed_weights(last: nn.Linear, x: Float[Tensor, " n"]) -> tuple[Float[Tensor, "p h"], Float[Tensor, " h"]]:
    """(s W, s b), with rows that add nothing up to a multiple p of FACTORS_PER_LOG, and (r - x)^T (W, b)."""
    weight = with_bias(last)
    r = (x > 0.5).to(x.dtype)
    signed_weight = weight.new_zeros(-(-len(x) // FACTORS_PER_LOG) * FACTORS_PER_LOG, weight.shape[1])
    torch.mul(weight, (1 - 2 * r)[:, None], out=signed_weight[: len(x)])
    signed_weight[len(x) :, -1] = VANISHING_LOGIT
    return signed_weight, (r - x) @ weight
