"""Manifests for Kubernetes, and what generates a part of them."""
