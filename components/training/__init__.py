"""Fitting a network: Trainer, LearningRateScan, and what a trial of the Tuner shares with them."""
