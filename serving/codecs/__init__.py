"""From what is on the wire to arrays, and back."""
