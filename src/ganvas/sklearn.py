"""Estimators of scikit-learn: `AutoencoderDetector` finds outliers in tables, `VAEDensity` estimates their density.

They learn on the CPU, in some hundred steps, write no run folder, and depend on the data and `random_state` alone.
Networks are MLPs; columns are standardised.  Scores are computed in float64, each from its own row and nothing else.
"""

from math import isqrt, log
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # scikit-learn has no types

    class BaseEstimator: ...

    class ClassNamePrefixFeaturesOutMixin: ...

    class DensityMixin: ...

    class OutlierMixin: ...

    class TransformerMixin: ...

    NearestNeighbors: Any
    check_random_state: Any
    check_is_fitted: Any
    validate_data: Any
else:
    try:
        from sklearn.base import (
            BaseEstimator,
            ClassNamePrefixFeaturesOutMixin,
            DensityMixin,
            OutlierMixin,
            TransformerMixin,
        )
        from sklearn.neighbors import NearestNeighbors
        from sklearn.utils import check_random_state
        from sklearn.utils.validation import check_is_fitted, validate_data
    except ImportError as missing:
        raise ImportError("ganvas.sklearn needs scikit-learn: pip install 'ganvas[sklearn]'") from missing

from .config import TrainConfig
from .data import Scaling, from_array
from .distributions.posteriors import normal_log_prob
from .errors import UserError, check_positive
from .models import VAE, Autoencoder
from .randomness import make_generator
from .training.ema import current_ema
from .training.loop import initialize_state, train

CPU = torch.device("cpu")
MIN_STEPS, MAX_STEPS, STEPS_PER_EXAMPLE = 200, 1000, 0.5
"""training steps where `steps` is None: so many an example, within these limits"""
MAX_LATENT, BATCH_SIZE, ROWS_AT_ONCE, MAX_OTHERS = 32, 64, 1024, 20_000
MIN_SCALE = 1e-6
"""the least spread of codes and of scores, as a share of the largest, that is more than rounding"""
N_BINS, PART_WEIGHTS = 10, (1.0, 0.25, 0.25)
"""bins of a column's histogram, and weights of the parts of a score"""
IMPORTANCE_SAMPLES = 64
"""samples z of each example for its likelihood"""


class TableModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What both estimators share: training on a table, and the codes of its rows."""

    def __init__(self, latent: int | None, width: int, steps: int | None, random_state: Any) -> None:
        self.latent: int | None = latent
        self.width: int = width
        self.steps: int | None = steps
        self.random_state: Any = random_state

    def train(self, X: Any, kind: type[Autoencoder] | type[VAE], **options: Any) -> int:
        """Fit networks, and the scaling of columns, to a table n x d; returns the seed."""
        x = validate_data(self, X, dtype=np.float64, ensure_min_samples=3)
        n, d = x.shape
        for name in ("latent", "width", "steps"):
            if (value := getattr(self, name)) is not None:
                check_positive(value, name)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        steps = self.steps or int(min(max(MIN_STEPS, STEPS_PER_EXAMPLE * n), MAX_STEPS))
        latent = self.latent or max(1, min(MAX_LATENT, d // 2))
        model, data = kind(latent=latent, width=self.width, net="mlp", **options), from_array(x.astype(np.float32))
        config = TrainConfig(steps=steps, batch_size=min(BATCH_SIZE, n), seed=seed, lr_decay=0.5, ema_decay=0.98)
        with torch.random.fork_rng(devices=[]):
            state = initialize_state(model, data.shape, seed, CPU)
            for _ in train(model, data, config, state):
                pass
            state.meter.fetch()  # raises where training diverged
        self.networks_: nn.ModuleDict = current_ema(state, config.ema_decay).double().eval()
        self.scaling_: Scaling = state.scaling[0]
        self.n_steps_: int = steps
        self._n_features_out: int = latent
        return seed

    def standardize(self, X: Any) -> Tensor:
        """The rows of a table as the networks see them, float64."""
        check_is_fitted(self)
        x = torch.from_numpy(np.array(validate_data(self, X, dtype=np.float64, reset=False)))
        assert self.scaling_.mean is not None
        return (x - self.scaling_.mean) / self.scaling_.scale

    @torch.no_grad()
    def transform(self, X: Any) -> np.ndarray:
        """The codes of n rows, n x latent: the posterior's mean where a code is a distribution."""
        u = self.standardize(X)
        code = self.networks_["encoder"](u)
        return np.asarray(code if isinstance(code, Tensor) else code.mean)


class AutoencoderDetector(OutlierMixin, TableModel):
    """Outliers by an autoencoder: rows that are far from others by their code and what it does not hold of them.

    A row's score is s_1 + (s_2 + s_3) / 4, each s less its median over the training rows, in interquartile ranges:

        s_1  distance of (z, x - g(z)), z the code in deviations, to that of the k-th nearest of n training rows, k =
             1 + sqrt(n): so many that a few outliers alike do not vouch for each other; a training row is the first to
             itself  (Ramaswamy et al., SIGMOD 2000)
        s_2  |x|, how far the row is from the mean, in deviations of the columns
        s_3  - sum_j log p_j(x_j), how rare its numbers are in their columns, p_j a histogram of ten bins  (HBOS,
             Goldstein & Dengel, KI 2012); beyond them, a bin without numbers

    Rows are compared with at most 20,000 training rows, drawn at random.  `latent` is the length of the code (None:
    half the columns, at most 32), `width` the units of a hidden layer, `steps` how long it learns (None: by the number
    of rows, at most 1000), `contamination` the share of the training rows that count as outliers, from 0 to 0.5: of
    new rows more do, where the training rows are few, since the networks have learnt those.
    """

    def __init__(
        self, latent: int | None = None, *, width: int = 128, steps: int | None = None, contamination: float = 0.1,
        random_state: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(latent, width, steps, random_state)
        self.contamination: float = contamination

    def fit(self, X: Any, y: Any = None) -> "AutoencoderDetector":
        """Learn from a table n x d; y is not used."""
        if not 0 < self.contamination <= 0.5:
            raise UserError(
                f"contamination={self.contamination} is no share of outliers: give more than 0, at most 0.5"
            )
        seed = self.train(X, Autoencoder)
        u = self.standardize(X)
        self.code_scale_: np.ndarray = np.ones(self._n_features_out)
        rows = self.describe(u)
        z = rows[:, : self._n_features_out]
        self.code_scale_ = np.where(z.std(0) > MIN_SCALE * np.abs(z).max(), z.std(0), 1.0)
        z /= self.code_scale_  # in the rows
        others = np.sort(np.random.default_rng(seed).permutation(len(rows))[:MAX_OTHERS])
        self.neighbors_: Any = NearestNeighbors(n_neighbors=1 + isqrt(len(others))).fit(rows[others])
        self.low_: np.ndarray = u.numpy().min(0)
        self.high_: np.ndarray = u.numpy().max(0)
        bins = self.bins(u)
        counts = np.stack([(bins == i).sum(0) for i in range(N_BINS + 1)])
        self.rarity_: np.ndarray = -np.log((counts + 0.5) / (len(u) + 0.5 * N_BINS))
        parts = self.parts(u, rows)
        low, median, high = np.percentile(parts, (25, 50, 75), axis=0)
        self.median_: np.ndarray = median
        self.range_: np.ndarray = np.where(high - low > MIN_SCALE * np.abs(parts).max(0), high - low, 1.0)
        self.offset_: float = float(np.percentile(self.weigh(parts), 100 * self.contamination))
        return self

    @torch.no_grad()
    def describe(self, u: Tensor) -> np.ndarray:
        """The code of standardised rows, in deviations, and their residual: n x (latent + d)."""
        z = self.networks_["encoder"](u)
        return np.concatenate([z.numpy() / self.code_scale_, (u - self.networks_["decoder"](z)).numpy()], 1)

    def bins(self, u: Tensor) -> np.ndarray:
        """The bin of each number of standardised rows in its column, `N_BINS` where it is half of one beyond: n x d."""
        span = np.where(self.high_ > self.low_, self.high_ - self.low_, 1.0)
        place = N_BINS * (u.numpy() - self.low_) / span
        is_beyond = (place < -0.5) | (place > N_BINS + 0.5)
        return np.where(is_beyond, N_BINS, np.clip(place, 0, N_BINS - 1)).astype(np.intp)

    def parts(self, u: Tensor, rows: np.ndarray) -> np.ndarray:
        """s_1, s_2 and s_3 of standardised rows, and of these as they are described: n x 3."""
        chunks = (rows[i : i + ROWS_AT_ONCE] for i in range(0, len(rows), ROWS_AT_ONCE))
        distance = np.concatenate([self.neighbors_.kneighbors(chunk)[0][:, -1] for chunk in chunks])
        rarity = np.take_along_axis(self.rarity_, self.bins(u), 0).sum(1)
        return np.stack([distance, np.linalg.norm(u.numpy(), axis=1), rarity], 1)

    def weigh(self, parts: np.ndarray) -> np.ndarray:
        """Minus the score of rows with these parts."""
        return -np.asarray((parts - self.median_) / self.range_ @ PART_WEIGHTS)

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the score of each row: lower is stranger."""
        u = self.standardize(X)
        return self.weigh(self.parts(u, self.describe(u)))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` less its threshold: negative for outliers."""
        scores: np.ndarray = self.score_samples(X) - self.offset_
        return scores

    def predict(self, X: Any) -> np.ndarray:
        """-1 for outliers, 1 for other rows."""
        return np.where(self.decision_function(X) < 0, -1, 1)


class VAEDensity(DensityMixin, TableModel):
    """A density by a variational autoencoder, with a Gaussian p(x|z) whose deviation is learned.

    `latent`, `width` and `steps` as `AutoencoderDetector` has them; `importance_samples` are the samples z of the bound
    on log p(x).
    """

    def __init__(
        self, latent: int | None = None, *, width: int = 128, steps: int | None = None,
        importance_samples: int = IMPORTANCE_SAMPLES, random_state: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(latent, width, steps, random_state)
        self.importance_samples: int = importance_samples

    def fit(self, X: Any, y: Any = None) -> "VAEDensity":
        """Learn from a table n x d; y is not used."""
        check_positive(self.importance_samples, "importance_samples")
        self.train(X, VAE, sigma="learned")
        return self

    @torch.no_grad()
    def score_samples(self, X: Any) -> np.ndarray:
        """log p(x) of each row in nats and its own units: the importance-weighted bound, with noise that rows share."""
        u, d = self.standardize(X), self._n_features_out
        noise = torch.randn(
            self.importance_samples, 1, d, generator=make_generator(CPU, 0, "bound"), dtype=torch.float64
        )
        return np.concatenate([self.bound(part, noise).numpy() for part in u.split(ROWS_AT_ONCE)])

    def bound(self, u: Tensor, noise: Tensor) -> Tensor:
        """L_k of standardised rows, in the rows' own units; the noise is k x 1 x d."""
        q = self.networks_["encoder"](u)
        z = q.mean + q.scale * noise
        log_ratio = (normal_log_prob(z) - normal_log_prob(noise) + q.scale.log()).sum(2)
        log_weights: Tensor = log_ratio - self.networks_["decoder"](z.flatten(0, 1)).nll(u)
        return log_weights.logsumexp(0) - log(len(noise)) - self.scaling_.log_volume

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of log p(x) over the rows."""
        return float(self.score_samples(X).mean())

    @torch.no_grad()
    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """n new rows, n x d, from p(x|z) p(z); by default those of the estimator's own `random_state`."""
        check_is_fitted(self)
        check_positive(n_samples, "n_samples")
        random = check_random_state(self.random_state if random_state is None else random_state)
        p = self.networks_["decoder"](torch.from_numpy(random.standard_normal((n_samples, self._n_features_out))))
        u = p.mean + p.sigma * torch.from_numpy(random.standard_normal(p.mean.shape))
        assert self.scaling_.mean is not None
        return np.asarray(u * self.scaling_.std + self.scaling_.mean)
