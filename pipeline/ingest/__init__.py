"""From image files to TFRecords: the command ingest, and the bundled digits."""
