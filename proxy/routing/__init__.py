"""Routing: from a provider's name to an address that packets can go to."""
