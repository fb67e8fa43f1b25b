"""What every node may use: configuration, errors, files, feature keys. Light to import."""
