"""What the service runs on.

    settings.py         settings; setting_values.py and the modules *_setting.py read their values, pooling.py has one
    postgres.py         connections; migrations.py, server_facts.py
    embedded/           the bundled Postgres
    keys.py             secrets of API keys; sessions.py, oidc.py, secret_box.py
    threads.py          long work in threads; fair_threads.py: in which clients take turns; work_time.py
    time_slice.py       work on the event loop in slices; freeing.py, memory.py
    tasks.py            background tasks; sockets.py, files.py
    problems.py         why something of the environment does not work, as codes

Nothing here knows an event or a rule of the registry.
"""
