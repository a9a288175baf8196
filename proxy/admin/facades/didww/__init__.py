"""DIDWW's API v3: voice OUT trunks, over our trunks."""
