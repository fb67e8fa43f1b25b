"""The model server behind its protocols: models, versions, batches, requests.

Requests come in through ``prediction_service.PredictionService``. It has a ``manager.Manager`` of
``servable.Servable`` versions, which ``loading.Loader`` loads (``saved_model``, ``tflite``), a
``batching.Batcher``, ``prometheus.Metrics`` and a ``request_log.RequestLog``; ``inference`` makes
calls of requests and answers of arrays. ``server_config`` are the configuration files. Nothing
here knows of HTTP or gRPC.
"""
