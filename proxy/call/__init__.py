"""The stateful proxy of RFC 3261 §16, sans-IO.

Events of the SIP stack go in; messages leave through the stack's outbox, and what lies beyond SIP (a
reservation to make, a call to account for) leaves as commands.
"""
