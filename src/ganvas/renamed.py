"""Names of before: what an option, an argument or a stored setting is called now.

A name that was given up is answered with the one that took its place, and a file that was written before is still
read.  One old name may have several new ones, each in a place of its own: `k` was the number of critic steps of a GAN
and the number of latent samples of a VAE.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from inspect import isabstract
from typing import Any, TypeVar

T = TypeVar("T")

NEW_NAMES: dict[str, tuple[str, ...]] = {
    "batch": ("batch_size",), "ema": ("ema_decay",), "every": ("checkpoint_every",), "milestones": ("lr_milestones",),
    "drop": ("lr_gamma",), "decay": ("lr_decay",), "max_norm": ("clip_grad_norm",), "out": ("runs_dir",),
    "from": ("init_from",), "start": ("init_from",), "changed_data": ("allow_changed_data",),
    "k": ("n_critic", "latent_samples", "importance_samples"), "k_first": ("initial_critic_steps",),
    "lazy": ("penalty_interval",), "clip": ("weight_clip",), "prior": ("noise_distribution", "fitted_prior"),
    "condition": ("conditioning",), "dropout_in": ("input_dropout",), "fourier": ("fourier_features",),
    "gradient": ("gradient_estimator",), "levels": ("latents",), "recon": ("reconstruct",),
    "distance": ("reconstruction_loss",), "constancy": ("reconstruction_weight",), "identity": ("identity_weight",),
    "cycle": ("cycle_weight", "warmup_cycle"), "features": ("feature_matching_weight",), "pool": ("pool_size",),
    "patch": ("patch_size",), "each": ("per_class",), "few": ("allow_few",), "path": ("interpolation",),
    "two_sample": ("one_nn",), "codes": ("show_codes",), "length": ("steps_factor",),
}  # fmt: skip
"""by the old name, those that took its place, as Python has them"""
NEW_STATISTICS = {
    "scale": "weight_scale", "lag": "ema_lag", "outside": "outside_fraction", "away": "distance_to_data",
    "gap": "logit_gap", "slope": "input_gradient", "minimax": "minimax_gradient",
    "nonsaturating": "non_saturating_gradient", "active": "active_units", "dead": "dead_units",
    "from_prior": "kl_from_prior", "std": "aggregate_std_range",
    **{f"{old}_{domain}": f"{new}_{domain}" for domain in "AB" for old, new in (("gap", "logit_gap"),
       ("cycle", "cycle_error"), ("noisy", "noisy_cycle_error"), ("moved", "input_change"))},
}  # fmt: skip
NEW_KEYS = {
    "config": {
        "plan.": "train_config", "data.view.": "options", "created": "created_at", "git.changed": "dirty",
        "ended": "end_step", "changed": "changes", "from.": "init_from",
    },
    "log": {
        "game.": "adversarial", "codes.": "latent", "samples.lowest": "lowest_distance", "samples.best": "best_step",
        **{f"{part}.{old}": new for part in ("game", "codes") for old, new in NEW_STATISTICS.items()},
    },
    "checkpoint": {
        "batch": "batch_size", "terms.": "pending_terms", "samples.": "selection", "samples.lowest": "lowest_distance",
        "samples.error": "distance_error", "samples.best": "best_step", "samples.waited": "evaluations_since_best",
        **{f"terms.{old}": new for old, new in NEW_STATISTICS.items() if old.startswith("gap")},
    },
    "weights": {"absent": "absent_classes", "priors.held_out.": "held_out_log_prob", "priors.counts": "n_codes"},
}  # fmt: skip
"""what a key in a file of this kind is called now, by its old path, which ends in a dot where the value is an object"""


def new_name(old: str, known: Iterable[str]) -> str | None:
    """Which of the `known` names took the place of an old one, with hyphens or underscores as they are known."""
    spelled = {name.replace("-", "_"): name for name in known}
    key = old.replace("-", "_")
    return None if key in spelled else next((spelled[n] for n in NEW_NAMES.get(key, ()) if n in spelled), None)


@cache
def given_up(cls: Any) -> dict[str, tuple[object, list[str]]]:
    """Options that a model does not have, also by old names: what its paper fixes each to, and kindred that have it."""
    fixed = {name: v for name, v in getattr(cls, "fixed_options", {}).items() if name not in cls.__dataclass_fields__}
    kindred = [base for base in reversed(cls.__mro__) if getattr(base, "fixed_options", None)][:1]
    for base in kindred:  # which grows by the subclasses of each
        kindred += [sub for sub in base.__subclasses__() if sub.__module__.startswith("ganvas.")]
    models = [model for model in kindred if not isabstract(model)]
    options = {
        name: (value, [model.__name__.lower() for model in models if name in model.__dataclass_fields__])
        for name, value in fixed.items()
    }
    old = {name: new_name(name, fixed) for name in NEW_NAMES if name not in cls.__dataclass_fields__}
    return options | {name: options[new] for name, new in old.items() if new}


def fixed_message(owner: str, name: str, fixed: tuple[object, list[str]]) -> str:
    """What is said where an option is given that a model's paper fixes."""
    value, models = fixed
    name = NEW_NAMES.get(name, (name,))[0]
    said = "it has none" if value in (None, False, 0.0) else f"it is {value}"
    takers = " and ".join(", ".join(models).rsplit(", ", 1))
    return f"{owner} has no `{name}`: by its paper {said}" + (f"; {takers} take `{name}`" if takers else "")


def with_new_names(values: Mapping[str, object], cls: type) -> dict[str, object]:
    """Stored fields of a dataclass, by today's names in place of those of before; others as they are."""
    known, dropped = [field.name for field in fields(cls)], given_up(cls)
    renamed = {new_name(name, known) or name: value for name, value in values.items() if name not in dropped}
    if renamed.get("geco") is not None and (renamed.get("sigma"), renamed.get("beta")) == (0.4, 1.0):
        # files of before have the defaults of what goes without geco only
        renamed |= {"sigma": None, "beta": None}
    if renamed.get("net") == "auto" and getattr(cls, "net", None) == "mlp":
        renamed["net"] = "mlp"  # files of a gan on vectors, when it had convolutions for images
    return renamed


def with_new_keys(values: Mapping[str, Any], kind: str, path: str = "") -> dict[str, Any]:
    """The content of a run's file of a kind in `NEW_KEYS`, by today's keys in place of those of before."""
    new_keys, result = NEW_KEYS[kind], {}
    for key, value in values.items():
        is_object = isinstance(value, dict)
        place = f"{path}{key}{'.' * is_object}"
        result[new_keys.get(place, key)] = with_new_keys(value, kind, place) if is_object else value
    return result


def update_file(header: Mapping[str, Any], tensors: Mapping[str, T]) -> tuple[dict[str, Any], dict[str, T]]:
    """Header and tensors of a checkpoint or a file of weights by today's names."""
    new_names = (re.sub("^average/", "ema/", re.sub(r"^(scaling/\d)/deviation$", r"\1/std", name)) for name in tensors)
    header = with_new_keys(header, "checkpoint" if "position" in header else "weights")
    return header, dict(zip(new_names, tensors.values(), strict=True))
