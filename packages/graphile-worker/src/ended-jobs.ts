import type { EndedJob } from './job-sql.js'

/** How many are remembered: more than a pool can have in the middle of being written. */
const MAX = 10_000

/** Jobs of a pool whose end is graphile-worker's to write, and perhaps not written yet: it doesn't say, nor say that it failed. */
export class EndedJobs {
  readonly #jobs = new Map<string, { readonly job: EndedJob; readonly at: number }>()

  note(job: EndedJob): void {
    this.#jobs.set(job.id, { job, at: performance.now() })
    if (this.#jobs.size > MAX) this.#jobs.delete(this.#jobs.keys().next().value!)
  }

  /** Forgets what was answered; not what was noted since. */
  forget(jobs: readonly EndedJob[]): void {
    for (const job of jobs) if (this.#jobs.get(job.id)?.job === job) this.#jobs.delete(job.id)
  }

  /** Those that ended at least `ms` milliseconds ago. */
  olderThan(ms: number): EndedJob[] {
    const latest = performance.now() - ms
    return [...this.#jobs.values()].flatMap(({ job, at }) => (at <= latest ? [job] : []))
  }

  /** The `count` that ended last. */
  latest(count: number): EndedJob[] {
    return [...this.#jobs.values()].slice(-count).map(({ job }) => job)
  }
}
