"""Objectives: one function an equation.

Convention: likelihood and KL terms are in nats per example, summed over dimensions, one number an
example; adversarial terms are means over the batch.  Inputs are logits wherever a probability is meant.
"""
