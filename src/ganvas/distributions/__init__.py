"""Posteriors q(z|x), likelihoods p(x|z), and priors fitted to codes."""
