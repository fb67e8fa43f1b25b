"""The hyperparameter search: Tuner, its trials, and the processes that run them."""
