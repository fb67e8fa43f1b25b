"""The model server behind its protocols: models, versions, batches, requests.

Requests come in through ``prediction_service``. It has a ``manager`` of versions,
which ``loading`` loads (``saved_model``, ``tflite``); ``inference`` makes calls of requests and
answers of arrays. Nothing here knows of HTTP or gRPC.
"""
