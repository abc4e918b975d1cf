"""The first stage at a million passages: what it finds, how fast, and what it takes to keep."""
