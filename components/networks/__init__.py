"""The networks, their initial weights, and the SavedModel that is made of them."""
