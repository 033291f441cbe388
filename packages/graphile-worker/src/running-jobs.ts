import { type FetchedJob, isLockTime, RENEWAL } from './fetched-job.js'

interface Running {
  readonly job: FetchedJob & { renewals: number }
  readonly since: number
  /** Steps by which its lock may have been old already, as a pool that fetches ahead had left it lying. */
  readonly waited: number
  /** Renewals of its lock that are done. */
  renewed: number
  /** How many hold its lock as it is. */
  holds: number
}

/** The jobs that a pool runs, and how young their locks are kept. */
export class RunningJobs {
  readonly #jobs = new Map<FetchedJob, Running>()

  async run<T>(job: FetchedJob, work: () => Promise<T>): Promise<T> {
    const waited = Math.max(0, Math.floor((Date.now() - (job.lockedAt ?? Date.now())) / RENEWAL))
    this.#jobs.set(job, { job, since: performance.now(), waited, renewed: 0, holds: 0 })
    try {
      return await work()
    } finally {
      this.#jobs.delete(job)
    }
  }

  /** Whether it runs a job that was locked then. */
  has(id: string, lockedAt: number): boolean {
    return [...this.#jobs.keys()].some((job) => job.id === id && isLockTime(job, lockedAt))
  }

  /**
   * From now on, until what is answered is called, the lock's time stays as it is: a statement that asks for the times
   * known when it was made would not find one that is renewed just then.
   */
  hold(job: FetchedJob): () => void {
    const running = this.#jobs.get(job)
    if (running !== undefined) running.holds += 1
    return () => {
      if (running !== undefined) running.holds -= 1
    }
  }

  /**
   * The jobs whose locks are to be made younger, each with its renewals as they may be then: counted before that is sent,
   * since it may be done although no answer says so. How many there are is the database's to say, by its clock.
   */
  renew(): { readonly jobs: readonly FetchedJob[]; done(): void } {
    const now = performance.now()
    const due = [...this.#jobs.values()].flatMap((running) => {
      const minutes = Math.floor((now - running.since) / RENEWAL)
      return running.holds === 0 && minutes > running.renewed ? [{ running, minutes }] : []
    })
    for (const { running, minutes } of due) running.job.renewals = running.waited + minutes
    return {
      jobs: due.map(({ running }) => running.job),
      done() {
        for (const { running, minutes } of due) running.renewed = minutes
      },
    }
  }
}
