"""TensorFlow Serving on the pushed versions: files for Docker, Kubernetes and KServe."""
