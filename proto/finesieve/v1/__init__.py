"""Version 1 of the contract: one module of messages and one of stubs for each .proto file."""
