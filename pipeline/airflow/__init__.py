"""The graph as a DAG of Airflow."""
