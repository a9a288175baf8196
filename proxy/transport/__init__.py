"""Transport: sockets, and nothing of what goes over them.

`udp` drains datagrams. `tcp` takes and opens connections, `tls` does so with the certificates of `contexts`;
both hold `connection`s within `limits`, and give `places` to them. `reopening` reads what a Via says of
connections, `identity` says who a certificate speaks for. Where a message ends is
`proxy.sip.framing`'s to say.
"""
