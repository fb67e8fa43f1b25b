"""The model server behind its protocols: models, versions, batches, requests.

Requests come in through ``prediction_service``. It has a ``manager`` of versions, which ``loading``
loads; ``inference`` makes calls of requests and answers of arrays. Nothing knows of HTTP or gRPC.
"""
