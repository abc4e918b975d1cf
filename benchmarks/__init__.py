"""Measurements anyone can run again: ratios in one run, with the machine and the commit."""
