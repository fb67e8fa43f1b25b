"""What ``training.recipe: auto`` chooses: facts of the data and the machine, and rules on them."""
