"""``darkroom review``: what is wrong with the images and their labels, and what people decide."""
