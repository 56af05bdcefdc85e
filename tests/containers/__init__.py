"""`make containers`: the Dockerfile and docker-compose.yml for real, unchanged, on a Docker engine.

`engine.py` finds an engine or starts one of its own, `stand_ins.py` makes the base images where no registry can be
reached, `trial.py` builds, starts, feeds and judges.
"""
