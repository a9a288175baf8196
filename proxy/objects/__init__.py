"""The policy's objects as they are managed while the program runs: documents, versions, and their editor."""
