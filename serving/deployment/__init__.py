"""TensorFlow Serving on the pushed versions: files for Docker, Kubernetes and KServe.

``manifests`` fills in the templates beside it, one for each document.
"""
