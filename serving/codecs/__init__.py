"""From what is on the wire to arrays, and back; nothing here knows of a server."""
