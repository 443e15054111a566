"""What the generated query log is made of: dialects, names, statements, literals."""
