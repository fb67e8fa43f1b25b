"""Private API of other libraries, one file for each, every use with its reason."""
