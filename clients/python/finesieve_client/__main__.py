"""`python -m finesieve_client` is the `finesieve` command."""

from finesieve_client.cli import main

main()
