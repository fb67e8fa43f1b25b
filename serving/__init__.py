"""What lies on the far side of the Pusher: loading a pushed model and answering with it."""
