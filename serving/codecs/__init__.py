"""From what is on the wire to arrays, and back; nothing here knows of a server.

``json_tensor`` is REST's JSON, ``tensors`` gRPC's messages, ``image_header`` what an image file
says of itself before it is decoded.
"""
