"""Speak gRPC and the contract; everything else is the business of the rooms below."""
