"""Admission: the policy in force, the ledger's yes or no, the money of live calls, and the record of each
decision."""
