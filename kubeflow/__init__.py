"""Kubeflow Pipelines: compiling and submitting the graph of ``pipeline.pipeline``."""
