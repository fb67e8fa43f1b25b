"""The model server over HTTP: TensorFlow Serving's REST API, and the page."""
