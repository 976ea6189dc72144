"""The fast listener: the same gRPC API, carried by h2corn in place of grpcio."""
