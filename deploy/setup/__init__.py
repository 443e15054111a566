"""The one-shot step before any service starts: roles and schemas, migrations, topics. Each part may run again."""
