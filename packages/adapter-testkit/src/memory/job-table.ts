import { randomUUID } from 'node:crypto'

export interface NewMemoryJob {
  readonly data: unknown
  /** The lower, the sooner. @default 0 */
  readonly priority?: number
  /** How often it is tried in all. @default 1 */
  readonly maxAttempts?: number
  /** Milliseconds before it may run. @default 0 */
  readonly delay?: number
}

/** A job of the queue in memory. */
export interface MemoryJob {
  readonly id: string
  readonly data: unknown
  readonly priority: number
  readonly maxAttempts: number
  /** Attempts that have ended. */
  readonly attempts: number
  readonly state: 'waiting' | 'active' | 'completed' | 'failed'
  /** By the queue's clock, in ms. */
  readonly notBefore: number
  /** Of the run that it is in. */
  readonly token?: string
  readonly error?: string
}

export type MemoryState = MemoryJob['state'] | 'missing'

/** The jobs of a queue in memory, and all that can be done with them. Each operation is atomic. */
export class JobTable {
  readonly #jobs = new Map<string, MemoryJob>()
  /** Recoveries that were carried out. */
  readonly #restored = new Set<string>()

  add({ data, priority = 0, maxAttempts = 1, delay = 0 }: NewMemoryJob): MemoryJob {
    const notBefore = Date.now() + delay
    return this.#put({
      id: randomUUID(),
      data,
      priority,
      maxAttempts,
      attempts: 0,
      state: 'waiting',
      notBefore,
    })
  }

  list(): MemoryJob[] {
    return [...this.#jobs.values()]
  }

  remove({ id }: { id: string }): void {
    this.#jobs.delete(id)
  }

  /** Gives a worker the next job. */
  take(): MemoryJob | undefined {
    const runnable = this.list().filter(
      ({ state, notBefore }) => state === 'waiting' && notBefore <= Date.now(),
    )
    const [next] = runnable.sort((a, b) => a.priority - b.priority)
    return next && this.#put({ ...next, state: 'active', token: randomUUID() })
  }

  /** Ends a run. @returns false where it is not that run's to end any more */
  complete(run: { id: string; token: string }): boolean {
    return this.#end(run, { state: 'completed' })
  }

  /** Ends a run that failed: another attempt, if there is one left. */
  fail({ error, ...run }: { id: string; token: string; error: string }): boolean {
    const job = this.#jobs.get(run.id)
    const last = job === undefined || job.attempts + 1 >= job.maxAttempts
    return this.#end(run, { state: last ? 'failed' : 'waiting', error })
  }

  /** Fails a job for good, be it gone, unless it waits or another run has it. @returns else the state that it found */
  bury({ job, error }: { job: MemoryJob; error: string }): MemoryState | 'buried' {
    const found = this.#jobs.get(job.id)
    if (found && found.token !== job.token && (found.state === 'waiting' || found.state === 'active'))
      return found.state
    const { token: _, ...rest } = found ?? job
    this.#put({ ...rest, state: 'failed', error })
    return 'buried'
  }

  /** Makes the job of a run runnable again. @returns the state that it found; `active` with another run too */
  release({ id, token, delay = 0 }: { id: string; token: string; delay?: number }): MemoryState | 'released' {
    const job = this.#jobs.get(id)
    if (job?.token !== token) return job?.state ?? 'missing'
    const { token: _, ...rest } = job
    this.#put({ ...rest, state: 'waiting', notBefore: Date.now() + delay })
    return 'released'
  }

  /**
   * Puts a job back as it was, unless it waits or runs, once per `recoveryId`.
   *
   * @returns the state that it found
   */
  restore({
    job,
    recoveryId,
    delay = 0,
  }: {
    job: MemoryJob
    recoveryId: string
    delay?: number
  }): MemoryState | 'done' {
    if (this.#restored.has(recoveryId)) return 'done'
    const state = this.#jobs.get(job.id)?.state ?? 'missing'
    if (state === 'waiting' || state === 'active') return state
    this.#restored.add(recoveryId)
    const { token: _, error: __, ...rest } = job
    this.#put({ ...rest, state: 'waiting', notBefore: Date.now() + delay })
    return state
  }

  #end({ id, token }: { id: string; token: string }, end: Partial<MemoryJob>): boolean {
    const job = this.#jobs.get(id)
    if (job?.token !== token) return false
    const { token: _, ...rest } = job
    this.#put({ ...rest, attempts: job.attempts + 1, ...end })
    return true
  }

  #put(job: MemoryJob): MemoryJob {
    this.#jobs.set(job.id, job)
    return job
  }
}
