"""Statistics of healthy games."""

HEALTHY = {
    "accuracy_real": 0.85, "accuracy_fake": 0.85, "gap": 2.0, "diversity": 0.98, "slope": 1.0,
    "minimax": 2.0, "nonsaturating": 5.0, "gradient_G": 8.0, "gradient_D": 20.0,
}  # fmt: skip
