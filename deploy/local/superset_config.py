"""Superset's own configuration file; whatever differs between installations comes from the environment."""

import os
from pathlib import Path

SECRET_KEY = os.environ["TIDEMARK_SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = f"sqlite:///{Path(os.environ['SUPERSET_HOME'], 'superset.db')}"
# The server is reached by its API and from this machine only.
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
PREVENT_UNSAFE_DB_CONNECTIONS = False
FEATURE_FLAGS = {"ENABLE_TEMPLATE_PROCESSING": True}
