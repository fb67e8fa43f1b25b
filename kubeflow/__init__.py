"""The graph on Kubeflow Pipelines: compiled, submitted, and run here as its containers would."""
