"""A whole run from Python: `run_all(data, RunPlan(...), folder)`; `steps.py` is the method."""

from smaf.engine.pipeline.places import RunPlaces
from smaf.engine.pipeline.plan import RunPlan
from smaf.engine.pipeline.run import run_all

__all__ = ["RunPlaces", "RunPlan", "run_all"]
