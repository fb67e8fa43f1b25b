"""Running the graph on this machine: all of it, or one node."""
