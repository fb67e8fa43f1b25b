"""What earlier runs made, and how that is found: ML Metadata, baselines, lineage."""
