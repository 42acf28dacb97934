"""Statistics of healthy games."""

HEALTHY = {
    "accuracy_real": 0.85, "accuracy_fake": 0.85, "logit_gap": 2.0, "diversity": 0.98, "input_gradient": 1.0,
    "minimax_gradient": 2.0, "non_saturating_gradient": 5.0, "gradient_G": 8.0, "gradient_D": 20.0,
}  # fmt: skip
