"""What clients speak: REST (with the page) and gRPC, their ports, TLS and API keys."""
