"""SIP without I/O: bytes ↔ messages ↔ transactions.

`stack` is the way in: datagrams and the time go in, events come out, and what is to be sent waits in its
outbox. `parse` and `serialize` turn bytes into `message` and back; `grammar`, `uri`, `headers` and `via` know
the parts. `transaction` does what `transaction_tables` says, with the values of `timers`. `malformed` answers
what `parse` refuses, `errors` says why, `counters` count.
"""
