"""The policy in the words of carriers' own APIs, for the clients that speak those: one package a carrier.

Each is a FastAPI application of its own, with that carrier's shapes, paging, filters and errors. It reads and
writes policy objects through the editor, like the native API, and asks the ledger what was spent; it knows
neither Redis nor another facade. What the carrier has and our model has not is kept in the object's `extra`,
under the facade's name.
"""
