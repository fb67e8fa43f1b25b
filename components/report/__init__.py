"""The report of a run: facts, a page for people, text for pull requests, and the node."""
