"""Benchmarks: the registry compared with a baseline application, `eventsourcing`, pgbench and COPY, as ratios."""
