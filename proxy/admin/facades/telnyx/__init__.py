"""Telnyx' API v2: outbound voice profiles, over our profiles."""
