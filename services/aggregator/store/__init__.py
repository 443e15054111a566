"""All SQL of the aggregator, by what it is about. Functions take a connection inside a transaction of the caller."""
