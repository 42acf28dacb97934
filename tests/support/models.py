"""Small models, and marks for tests that run on every one."""

from typing import Any

import pytest
from torch import nn

from ganvas.data import Dataset, DomainPair, fit_scaling, make_stream
from ganvas.inference.trained import Trained
from ganvas.model import Model
from ganvas.models import MODELS
from ganvas.training.loop import apply_move

SMALL: dict[str, Any] = {
    "latent": 6, "width": 8, "latent_samples": 2, "n_critic": 2, "latents": (4, 2),
    "initial_critic_steps": 3, "blocks": 1, "pool_size": 6,
}  # fmt: skip


IMAGE_MODELS = {name: cls for name, cls in MODELS.items() if not cls.tables_only}
"""the models but those of tables alone"""
every_model_and_ctgan = pytest.mark.parametrize("cls", MODELS.values(), ids=list(MODELS))
"""for tests whose data are those of `learnt_by` or `sources`"""
every_model = pytest.mark.parametrize("cls", IMAGE_MODELS.values(), ids=list(IMAGE_MODELS))
every_generator, every_translator = (
    pytest.mark.parametrize("cls", some.values(), ids=list(some))
    for some in ({name: cls for name, cls in IMAGE_MODELS.items() if cls.n_domains == n} for n in (1, 2))
)


def small(cls: type[Model], **fields: Any) -> Model:
    """The model with small networks."""
    names, packs = cls.__dataclass_fields__, {"pack": 2} if cls.tables_only else {}
    return cls(**{k: v for k, v in (SMALL | packs | fields).items() if k in names})


def small_critic(cls: type[Model]) -> Model:
    """The small model, whose critic has no more updates in its first steps than in others."""
    return small(cls, initial_critic_steps=1)


def after_a_step(model: Model, data: Dataset | DomainPair) -> Trained:
    """The model after its first step, on examples of five classes."""
    scaling, nets = fit_scaling(data, model), model.networks(data.shape, 5)
    for move in model.step(make_stream(data, scaling, batch=8, seed=0), 0, **nets):
        apply_move(move, model.optimizer(*move.networks))
        assert move.loss.isfinite()
    kept = nn.ModuleDict({name: net for name, net in nets.items() if name not in model.training_only}).eval()
    return Trained(model, data.shape, kept, {"classes": list("abcde")}, scaling=scaling)
