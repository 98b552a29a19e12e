"""The sidecar: gives the containers of a pod their memories through a Unix socket."""
