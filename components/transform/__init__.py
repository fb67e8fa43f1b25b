"""The preprocessing graph, which Transform writes and everything after it runs."""
