"""`python -m proxy.cli`, the same as `trunkwarden`."""

from proxy.cli.console import main

main()
