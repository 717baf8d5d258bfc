"""Rows in and out of CSV, TSV, JSONL, JSON and Parquet files, in a stream. Nothing is held but the row at hand."""
