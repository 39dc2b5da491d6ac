"""What both sides must agree on: schema, model, messages, files, errors."""
