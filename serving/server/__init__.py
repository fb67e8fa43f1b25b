"""The model server behind its protocols: models, versions, batches, requests."""
