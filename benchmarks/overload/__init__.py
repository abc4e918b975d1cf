"""Goodput, refusals and fairness under more load than the server can do."""
