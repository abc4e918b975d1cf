"""The finesieve contract: version 1 is finesieve.v1, generated from the .proto files beside it."""
