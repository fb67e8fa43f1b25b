"""What the data are and are expected to be: statistics, SchemaGen, ExampleValidator."""
