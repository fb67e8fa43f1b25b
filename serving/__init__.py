"""What lies on the far side of the Pusher: loading a pushed model and answering with it.

For users: ``python -m darkroom.serving.model_server`` and ``client``. ``server``, ``protocols`` and
``codecs`` are the model server's own; the rest is for the other packages too.
"""
