"""What a task takes and returns: documented values, inputs, outputs, outcomes, schemas and validation."""
