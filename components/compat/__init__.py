"""What is private of other libraries, a module for each: every use with its reason."""
