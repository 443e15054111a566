"""What comes in from other systems: events, webhooks. Each is told to the broker before it is answered."""
