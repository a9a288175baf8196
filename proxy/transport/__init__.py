"""Transport: sockets, and nothing of what goes over them.

`udp` drains datagrams. `tcp` takes and opens connections, `tls` does so with certificates; both hold
`connection`s within `limits`, and give `places` to them. `reopening` finds the way of a response whose
connection is gone, `identity` says who a certificate speaks for. Where a message ends is
`proxy.sip.framing`'s to say.
"""
