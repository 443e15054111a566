"""The demonstration: a warehouse with real users and real SQL, mined through the gateway."""
