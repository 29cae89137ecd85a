"""Benchmarks: the registry compared with a baseline application, `eventsourcing`, pgbench and COPY, as ratios.

`python -m bench` runs the benchmarks that `benchmarks.py` names, and writes results.md:

    recording.py, reading.py, one_deal.py, concurrency.py, large_log.py, question_costs.py, sheet_import.py,
    internals.py              the benchmarks; page_cost.py, validation_cost.py, partitions.py: parts of them
    context.py, sizes.py, prepared.py, report.py
                              what each is given, and how its figures are written
    workload.py, questions.py, import_load.py, load_generator.py, multiplied.py
                              the deals, the questions, and how they are sent
    service.py, served.py, baseline.py, comparisons.py, peer.py
                              the services under test, and what they are compared with

Others are run by themselves, each as its docstring says. Their figures are in docs/:

    holds.py                  how long requests hold the event loop (limits.md)
    limits.py                 what attacks on the limits cost others (limits.md)
    tenants.py                what an idle service costs (operating.md)
    extraction.py             precision and recall of proposals from articles (api.md)
    clean_investment_monitor.py, quantity_totals.py
                              imports of published data sets, with totals compared (import.md)
"""
