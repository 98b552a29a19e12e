"""The ``memctl`` command: look at and change the memories of this pod, from a shell in it."""
