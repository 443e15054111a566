"""A worker process whose job takes its time, for tests that kill it: `python -m tests.support.job_worker NAME`.

Environment: WORKER_DATABASE_URL, LEASE (seconds). Each run writes when it began and when it ended into the test's table
`job_run`; it ends once somebody has written that it `may end`.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta

import asyncpg

from libs.common.jobs import JobRef, Jobs

SERVICE, KIND = "log_miner", "test"
MAY_END = "SELECT EXISTS (SELECT FROM job_run WHERE job = $1 AND worker = $2 AND what = 'may end')"


async def work(name: str) -> None:
    pool = await asyncpg.create_pool(os.environ["WORKER_DATABASE_URL"], min_size=1, max_size=4)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)

    async def run(ref: JobRef) -> None:
        await pool.execute("INSERT INTO job_run (job, worker, what) VALUES ($1, $2, 'began')", ref.id, name)
        while not await pool.fetchval(MAY_END, ref.id, name):  # noqa: ASYNC110 (the database tells nobody)
            await asyncio.sleep(0.05)
        await pool.execute("INSERT INTO job_run (job, worker, what) VALUES ($1, $2, 'ended')", ref.id, name)

    jobs = Jobs(SERVICE, pool, lease=timedelta(seconds=float(os.environ["LEASE"])))
    jobs.handle(KIND, run)
    jobs.start()
    await stopping.wait()
    await jobs.stop()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
