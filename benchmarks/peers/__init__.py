"""The engines that `make bench` measures side by side, one adapter each."""
