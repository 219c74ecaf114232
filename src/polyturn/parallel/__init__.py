"""Many devices: the mesh, which axis of an array is cut by which axis of the mesh, collectives, multi-host start."""
