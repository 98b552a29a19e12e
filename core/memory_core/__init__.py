"""What operator and sidecar share: the specification, its compiled configuration, keys, errors, tokens and the store.

Modules are imported one by one, so that the sidecar pays only for what it uses; this file stays empty on purpose.
"""
