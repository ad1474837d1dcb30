"""What runs inside a worker process: it loads one model and makes its calls. Only this package and the catalog know torch."""
