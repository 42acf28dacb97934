"""Names of before: what an option, an argument or a stored setting is called now.

A name that was given up is answered with the one that took its place, and a file that was written before is still
read.  One old name may have several new ones, each in a place of its own: `k` was the number of critic steps of a GAN
and the number of latent samples of a VAE.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields

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


def new_name(old: str, known: Iterable[str]) -> str | None:
    """Which of the `known` names took the place of an old one, with hyphens or underscores as they are known."""
    spelled = {name.replace("-", "_"): name for name in known}
    key = old.replace("-", "_")
    return None if key in spelled else next((spelled[n] for n in NEW_NAMES.get(key, ()) if n in spelled), None)


def given_up(cls: type) -> dict[str, object]:
    """Options, by today's names and those of before, that a model does not have, and what its paper fixes them to."""
    known = {field.name for field in fields(cls)}
    fixed = {name: value for name, value in getattr(cls, "fixed_options", {}).items() if name not in known}
    old = {name: fixed[new] for name in NEW_NAMES if name not in known and (new := new_name(name, fixed))}
    return fixed | old


def fixed_message(owner: str, name: str, value: object) -> str:
    """What is said where an option is given that a model's paper fixes."""
    name = NEW_NAMES.get(name, (name,))[0]
    said = "it has none" if value in (None, False, 0.0) else f"it is {value}"
    takers = "wgan and wgangp" if name == "initial_critic_steps" else "gan, dcgan and cgan"
    return f"{owner} has no `{name}`: by its paper {said}; {takers} take `{name}`"


def with_new_names(values: Mapping[str, object], cls: type) -> dict[str, object]:
    """Stored fields of a dataclass, by today's names in place of those of before; others as they are."""
    known = [field.name for field in fields(cls)]
    dropped = given_up(cls)
    renamed = {new_name(name, known) or name: value for name, value in values.items() if name not in dropped}
    if renamed.get("geco") is not None and (renamed.get("sigma"), renamed.get("beta")) == (0.4, 1.0):
        # files of before have the defaults of what goes without geco only
        renamed |= {"sigma": None, "beta": None}
    return renamed
