"""What all suites share: data, rounds in fresh processes, CPU and memory, tables, charts."""
