"""The lake, the plan runner and the control database. Only this package imports duckdb."""
