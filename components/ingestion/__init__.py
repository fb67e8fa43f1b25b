"""From TFRecords to examples that were looked at: ImportExampleGen."""
