"""SQL views for dashboards, and the roles that may read them."""
