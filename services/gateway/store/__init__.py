"""All SQL of the gateway, one function per statement. Times are parameters."""
