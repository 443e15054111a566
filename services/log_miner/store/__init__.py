"""All SQL of log_miner, by what it is about."""

from typing import Final

from libs.common.collecting.places import Places
from libs.common.collecting.table import JobTable
from services.log_miner.domain import MiningJob

JOBS: Final = JobTable("mining_job", MiningJob)
PLACES: Final = Places("mining")
