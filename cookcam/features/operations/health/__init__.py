"""Health checks: liveness, readiness and details of the services."""
