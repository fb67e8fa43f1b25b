"""What lies on the far side of the Pusher: loading a pushed model and answering with it.

For users: ``python -m darkroom.serving.model_server`` and ``client``. For the other packages:
``rollout`` (which version is served) and ``pushed_files`` (what the Pusher writes for servers),
``deployment`` (TensorFlow Serving on Docker, Kubernetes and KServe), ``predictor`` (answers in this
process), ``description`` (what a SavedModel is), ``signatures`` (names in it), ``flags`` (of the
server), ``files`` (whole files and locks) and ``codecs.image_header``. ``server`` and ``protocols``
are the model server's own.
"""
