"""The names of what a line of a run's log holds."""

NON_LOSS_KEYS = ("latent", "adversarial", "samples", "wasserstein", "jensen_shannon", "diverged")
"""what a line of the log holds besides step, seconds and losses"""
