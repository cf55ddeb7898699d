"""The worker process: polls the engine, runs tasks, reports results, drains when told to stop."""
