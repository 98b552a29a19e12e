"""HTTP/1.1 as the sidecar speaks it: a parser without I/O, connections, and a server that bounds them.

Nothing in here knows what a memory is.
"""
