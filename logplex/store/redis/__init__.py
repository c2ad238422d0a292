"""Links to Redis servers, and a cluster's configuration on one of them (PROTOCOL §10)."""
