"""What earlier runs came to, for people: status, reports, comparisons, lineage."""
