"""Which jobs a command line means: words and YAML selectors, on a graph of jobs, sources and exposures."""
