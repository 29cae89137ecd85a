"""Scripts for operators and releases, and the settings of what the registry is deployed with.

audit.py, sbom.py         what the pinned packages are, and their advisories
roles.sh                  the roles of a database server of one's own
systemd/, compose/, kubernetes/, cluster/
                          how the service and Postgres are run
pgbackrest/               backups of the cluster
prometheus/, grafana/     alerts and a dashboard
"""
