"""VoIPBIN's API v1.0: outbound configs, providers and outplans, over our accounts, providers and outplans."""
