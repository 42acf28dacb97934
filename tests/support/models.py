"""Small models, and marks for tests that run on every one."""

from typing import Any

import pytest

from ganvas.model import Model
from ganvas.models import MODELS

SMALL: dict[str, Any] = {
    "latent": 6, "width": 8, "latent_samples": 2, "n_critic": 2, "latents": (4, 2),
    "initial_critic_steps": 3, "blocks": 1, "pool_size": 6,
}  # fmt: skip


every_model = pytest.mark.parametrize("cls", MODELS.values(), ids=list(MODELS))


every_generator, every_translator = (
    pytest.mark.parametrize("cls", some.values(), ids=list(some))
    for some in ({name: cls for name, cls in MODELS.items() if cls.n_domains == n} for n in (1, 2))
)


def small(cls: type[Model], **fields: Any) -> Model:
    """The model with small networks."""
    names = cls.__dataclass_fields__
    return cls(**{k: v for k, v in (SMALL | fields).items() if k in names})
