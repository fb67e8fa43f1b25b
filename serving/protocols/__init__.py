"""What clients speak: REST (with the page) and gRPC, their ports, TLS and API keys.

``rest_api.RestApp`` in an ``http_server.HttpServer``, and ``grpc_server.GrpcServer``, answer with a
``PredictionService``; ``access`` is of both.
"""
