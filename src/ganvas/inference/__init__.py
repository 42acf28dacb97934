"""Trained models at work: samples, codes, translations."""
