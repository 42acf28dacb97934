"""How strange examples are to a trained model: a number each, larger is stranger.

    code            -log p(f(x)) in nats, p the prior that was fitted to codes  (arXiv:1903.12436, section 4)
    likelihood      -log p(x) by the importance-weighted bound, -L_k, in nats  (arXiv:1509.00519, equation 8)
    elbo            minus the evidence lower bound, in nats  (arXiv:1312.6114, equation 7)
    reconstruction  |x - g(f(x))|^2 / D, g(f(x)) from the posterior's mean where the code is a distribution
    inversion       min_z |x - G(z)|^2 / D, by Adam from the nearest of some samples  (arXiv:1703.05921, equation 3)
    discriminator   minus the logit that a GAN's discriminator gives x, or its critic's value
    cycle           |x - F(G(x))|^2 / D, of a translator that goes both ways

D is how many numbers x has.  Errors are of pixels in [0, 1], those with alpha on black and on white, and of vectors in
standard deviations.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..data import DataOptions, Dataset, Source
from ..distributions.priors import BEST
from ..errors import UserError, check_positive, did_you_mean
from ..model import EncoderModel, GenerativeModel, TranslationModel, model_name, model_name_with_article
from ..models._gan import Adversarial
from ..models._translator import OTHER_DOMAIN
from ..models._variational import LikelihoodModel
from ..optimizers import Adam
from ..randomness import make_generator
from .bounds import elbo_terms, importance_weighted_bound
from .loading import check_domain, check_whole, load_domain, load_preprocessed
from .networks import find_checkpoint, load_discriminator

if TYPE_CHECKING:
    from .trained import Trained

SCORES = ("code", "likelihood", "elbo", "reconstruction", "inversion", "discriminator", "cycle")
ERRORS = ("reconstruction", "inversion", "cycle")
"""scores that compare an example with another"""
IMPORTANCE_SAMPLES, ELBO_DRAWS = 16, 10
"""samples z of each example for the bound, unless options say otherwise, and for the ELBO"""
INVERSION_SAMPLES, INVERSION_STARTS, INVERSION_STEPS, INVERSION_LR = 256, 4, 200, 0.1
"""samples among which an example's nearest are where Adam starts; how many, its steps, and its first rate"""
COMPARED_AT_ONCE, NUMBERS_AT_ONCE, INVERTED_AT_ONCE = 256, 2**22, 32
"""examples that are compared at once, and numbers in them, at most; examples that are inverted at once"""
CPU = torch.device("cpu")
Scores = Float64[Tensor, " n"]
Pair = tuple[Float[Tensor, "n *shape"], Float[Tensor, "n *shape"]]
"""examples, and others that they are compared with, as errors are measured"""


def score_kinds(trained: "Trained") -> list[str]:
    """The scores that a model has, first the one that it is given where nobody says which."""
    model = trained.model
    if isinstance(model, TranslationModel):
        return ["cycle"] * (len(trained.directions) == 2)
    has_likelihood = isinstance(model, LikelihoodModel)
    kinds = ["likelihood", "elbo"] * has_likelihood
    if isinstance(model, EncoderModel):
        kinds += ["reconstruction"] * isinstance(model, GenerativeModel)
        if trained.priors is None or (has_likelihood and len(trained.shape) == 1):
            return [*kinds, "code"]
        return ["code", *kinds]  # which tells images best, and of vectors those of an autoencoder: docs/scores.md
    judges = isinstance(model, Adversarial) and not model.tables_only  # ctgan's D judges rows of a condition together
    return ["inversion"] * isinstance(model, GenerativeModel) + ["discriminator"] * judges


def resolve_score(trained: "Trained", kind: str | None, importance_samples: int | None = None) -> str:
    """The score of this name, or the model's own; UserError for one that it does not have."""
    name, kinds = model_name(trained.model), score_kinds(trained)
    if not kinds:
        one_way = ": it translates one way only" * isinstance(trained.model, TranslationModel)
        raise UserError(f"{model_name_with_article(trained.model)} has no score{one_way}")
    if kind is not None and kind not in kinds:
        hint = "" if kind in SCORES else did_you_mean(kind, kinds)
        raise UserError(f"this {name} has no score {kind!r}.{hint} It has: {', '.join(kinds)}")
    kind = kind or kinds[0]
    if kind == "code":  # refused before anything is read
        trained.get_fitted_prior(BEST)
    elif kind == "discriminator" and trained.discriminator is None:
        find_checkpoint(trained)
    if importance_samples is not None:
        check_positive(importance_samples, "importance_samples")
        if kind != "likelihood":
            raise UserError(f"`importance_samples` is of the score likelihood, and this is {kind}: leave it out")
    return kind


def load_inputs(trained: "Trained", data: Source, options: DataOptions | None, to: str) -> Dataset:
    """The examples that a source names, of a translator those that it translates `to` B or A."""
    if trained.model.n_domains == 1:
        return load_preprocessed(trained, data, options)
    domain, _ = trained.domains(to)
    dataset = load_domain(trained, data, options, domain)
    check_domain(dataset, trained.shape[domain], to)
    return dataset


def load_all(trained: "Trained", data: Source, options: DataOptions | None, to: str) -> Dataset:
    """The same; UserError where they are a sample of the source's."""
    return check_whole(load_inputs(trained, data, options, to), data)


@torch.random.fork_rng(devices=[])
@torch.no_grad()
def score_dataset(
    trained: "Trained", data: Dataset, kind: str, *, importance_samples: int | None = None, seed: int = 0, to: str = "B"
) -> Scores:
    """The score of this kind of each of n examples, as `load_inputs` has them; UserError where one is no number."""
    model = trained.model
    x, y = data.x, data.labels if model.is_conditional else None
    if kind in ERRORS:
        values = torch.cat([error.flatten(1).double().mean(1) for error in error_maps(trained, data, kind, seed, to)])
    elif kind == "code":
        prior = trained.get_fitted_prior(BEST)
        codes = trained.encode_with(trained.require(EncoderModel, "has no encoder").encode, data)
        values = -(trained.log_prior(codes) if prior is None else prior.log_prob(codes)).double()
    elif kind == "discriminator":
        assert isinstance(model, Adversarial)
        D, copies = load_discriminator(trained), (1, model.pack, *[1] * (x.ndim - 2))  # where D sees several in one
        u = trained.domain_scaling()(x)
        values = -trained.map_chunks(lambda part, *labels: D(part.repeat(copies), *labels), u, y).double()[:, 0]
    else:
        assert isinstance(model, LikelihoodModel)
        u = trained.domain_scaling()(x)
        if kind == "elbo":
            nll, kl = elbo_terms(trained, model, u, y, ELBO_DRAWS, seed)
            values = nll + kl
        else:
            values = -importance_weighted_bound(trained, model, u, y, importance_samples or IMPORTANCE_SAMPLES, seed)
    if values.isnan().any():
        raise UserError(f"the score {kind} of an example is no number: the model's weights are not fit for use")
    return values


def error_maps(trained: "Trained", data: Dataset, kind: str, seed: int, to: str) -> Iterator[Tensor]:
    """Squared errors of examples, a part at a time."""
    return ((x - r).square() for x, r in comparisons(trained, data, kind, seed, to))


def comparisons(trained: "Trained", data: Dataset, kind: str, seed: int = 0, to: str = "B") -> Iterator[Pair]:
    """Examples, and what a score of errors compares them with, a part of the data at a time."""
    y = data.labels if trained.model.is_conditional else None
    size = max(1, min(COMPARED_AT_ONCE, NUMBERS_AT_ONCE // data.x[0].numel()))
    for i in range(0, len(data), size):
        part = slice(i, i + size)
        x, labels = data.x[part], None if y is None else y[part]
        if kind == "cycle":
            yield translate_back(trained, x, to)
        elif kind == "inversion":
            yield invert(trained, trained.domain_scaling()(x), labels, seed)
        else:
            yield reconstruct(trained, trained.domain_scaling()(x), labels)


def reconstruct(trained: "Trained", u: Tensor, y: Tensor | None) -> Pair:
    """Examples as the model sees them and their labels, if any; and their reconstructions."""
    encoding = trained.require(EncoderModel, "has no encoder")
    generating = trained.require(GenerativeModel, "has no decoder")
    y = y if trained.model.is_conditional else None
    z = trained.map_chunks(lambda *part: encoding.encode(*part, **trained.nets), u, y)
    r = trained.map_chunks(lambda *part: generating.generate(*part, **trained.nets), z, y)
    return measurable(trained, u), measurable(trained, r)


def measurable(trained: "Trained", u: Tensor) -> Tensor:
    """Examples as the model sees them, as their errors are measured."""
    scaling = trained.domain_scaling()
    low, high = scaling.pixel_range
    if u.ndim == 2:
        return u
    return scaling.composite((u - low) / (high - low), scaling.premultiplied)


def translate_back(trained: "Trained", x: Tensor, to: str) -> Pair:
    """Examples of one domain, as they are; and these translated `to` the other and back."""
    scaling = trained.domain_scaling(trained.domains(to)[0])
    x = scaling.to_unit(x) if x.ndim > 2 else x
    r = trained.translate_batch(trained.translate_batch(x, to), OTHER_DOMAIN[to])
    as_measured = scaling.composite if x.ndim > 2 else scaling
    return as_measured(x), as_measured(r)


def invert(trained: "Trained", u: Tensor, y: Tensor | None, seed: int) -> Pair:
    """Examples as the model sees them and, of what G makes of any code, the nearest that was found.

    The codes to start from are the same for every example, so that its result does not depend on the others.
    """
    model = trained.require(GenerativeModel, "draws no examples from noise")
    z = model.sample_prior(INVERSION_SAMPLES, trained.shape, make_generator(CPU, seed, "inversion"), **trained.nets)
    inverse = torch.empty_like(u)
    for label in [-1] if y is None else y.unique().tolist():
        labels = () if y is None else (torch.full((len(z),), label),)
        samples = trained.map_chunks(lambda *part: model.generate(*part, **trained.nets), z, *labels).flatten(1)
        index = torch.arange(len(u))[slice(None) if y is None else torch.eq(y, label)]
        for part in index.split(INVERTED_AT_ONCE):
            nearest = torch.cdist(u[part].flatten(1), samples).topk(INVERSION_STARTS, largest=False).indices
            inverse[part] = descend(trained, model, u[part].to(trained.device), z[nearest], labels)
    return measurable(trained, u), measurable(trained, inverse)


def descend(
    trained: "Trained", model: GenerativeModel, u: Tensor, starts: Float[Tensor, "n k d"], labels: tuple[Tensor, ...]
) -> Tensor:
    """The nearest to each of n examples that Adam finds from k codes each; its rate falls linearly to 0."""
    n, k, _ = starts.shape
    target, y = u.repeat_interleave(k, 0).flatten(1), tuple(t[:1].expand(n * k).to(u.device) for t in labels)
    code = trained.model.to_normal(starts.flatten(0, 1)).to(u.device).requires_grad_()
    adam = Adam([code], INVERSION_LR)
    for step in range(INVERSION_STEPS + 1):
        with torch.enable_grad():
            fake = model.generate(trained.model.from_normal(code), *y, **trained.nets)
            errors = (fake.flatten(1) - target).square().sum(1)
            total = errors.sum()
        if step == INVERSION_STEPS:
            break
        adam.param_groups[0]["lr"] = INVERSION_LR * (1 - step / INVERSION_STEPS)
        (code.grad,) = torch.autograd.grad(total, [code])
        adam.step()
    best = errors.detach().view(n, k).argmin(1) + k * torch.arange(n, device=u.device)
    return fake.detach()[best].cpu()
