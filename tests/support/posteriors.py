"""What tests ask of posteriors."""

from torch import Tensor

from ganvas.distributions.posteriors import DiagonalGaussian, FullGaussian, LowRankGaussian


def covariance(q: DiagonalGaussian | FullGaussian | LowRankGaussian) -> Tensor:
    """The covariances of Gaussian posteriors, b x d x d."""
    match q:
        case DiagonalGaussian():
            return q.scale.square().diag_embed()
        case FullGaussian():
            return q.scale_tril @ q.scale_tril.mT
        case LowRankGaussian():
            return q.scale.square().diag_embed() + q.factor @ q.factor.mT
