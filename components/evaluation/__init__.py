"""How good a model is, and whether that is enough: Rehearsal and Evaluator."""
