"""The one graph and everything that runs it: configuration, runners, command line."""
