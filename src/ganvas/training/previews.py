"""The picture that a run keeps of a step."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from ..data import Scaling
from ..data.tables.scaling import TableScaling
from ..distributions.priors import STANDARD
from ..inference.sampling import sample_examples
from ..inference.trained import Trained
from ..model import GenerativeModel
from ..randomness import make_generator
from ..viz.images import preview

ROWS = 24
"""rows of a table that a picture has"""


def draw_preview(trained: Trained, batch: Any, scalings: Sequence[Scaling]) -> Image.Image:
    """Examples of a batch and what the model makes of them, or samples; of a table rows that are drawn.

    Samples of the models that a run fits a prior of are from that prior.
    """
    scaling, *others = scalings
    if isinstance(scaling, TableScaling) and isinstance(trained.model, GenerativeModel):
        return sample_examples(trained, ROWS).render()
    with torch.inference_mode():
        rows = trained.model.preview(batch, **trained.nets)
        if trained.default_prior != STANDARD:  # the last row has samples from N(0, I)
            random, model = make_generator(torch.device("cpu"), 0, "preview"), trained.require(GenerativeModel, "")
            rows[-1] = model.generate(trained.draw_codes(rows.shape[1], random).to(trained.device), **trained.nets)
    if others:  # vectors of two domains stay standardised, so that both fit one plot
        scaling = Scaling(trained.model.pixel_range, premultiplied=any(s.premultiplied for s in scalings))
        scaling = next((s for s in scalings if s.is_deep), scaling)
    return preview(rows, scaling)
