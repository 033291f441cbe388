import { setTimeout as delay } from 'node:timers/promises'
import type { MemoryJob, MemoryState, NewMemoryJob } from './job-table.js'

type Deliver = (job: MemoryJob) => Promise<void>

/** What one process sees of a `MemoryQueueServer`. */
export class MemoryQueue {
  readonly #closing = new AbortController()
  readonly #loops: Promise<void>[] = []
  /** Questions for a job that are not answered yet. */
  readonly #asked = new Set<Promise<unknown>>()

  /** @param url of the server */
  constructor(readonly url: string) {}

  add(job: NewMemoryJob): Promise<MemoryJob> {
    return this.#call('add', job)
  }

  /** All jobs. */
  list(): Promise<MemoryJob[]> {
    return this.#call('list', {})
  }

  remove(id: string): Promise<void> {
    return this.#call('remove', { id })
  }

  /** The run of this job has ended. @returns false where it was not its any more */
  complete({ id, token }: MemoryJob): Promise<boolean> {
    return this.#call('complete', { id, token })
  }

  /** The run of this job has failed; it is tried again while attempts are left. */
  fail({ id, token }: MemoryJob, error: string): Promise<boolean> {
    return this.#call('fail', { id, token, error })
  }

  /** Fails a job for good, unless others have it. */
  bury(job: MemoryJob, error: string): Promise<MemoryState | 'buried'> {
    return this.#call('bury', { job, error })
  }

  /** Makes the job of a run that is over runnable again, `delay` ms from now. */
  release({ id, token }: MemoryJob, delay = 0): Promise<MemoryState | 'released'> {
    return this.#call('release', { id, token, delay })
  }

  /** Puts a job back that ended or is gone; once per `recoveryId`. */
  restore(job: MemoryJob, recoveryId: string, delay = 0): Promise<MemoryState | 'done'> {
    return this.#call('restore', { job, recoveryId, delay })
  }

  /** Takes jobs, so many at a time, until `stop()`. `deliver` completes them, fails them or gives them back. */
  work(concurrency: number, deliver: Deliver): void {
    for (let n = 0; n < concurrency; n++) this.#loops.push(this.#work(deliver))
  }

  /** Takes no more jobs; what runs goes on. Resolves when no job can arrive any more. */
  async stop(): Promise<void> {
    this.#closing.abort()
    await Promise.all(this.#asked)
  }

  /** Stops, and waits for what runs. */
  async close(): Promise<void> {
    await this.stop()
    await Promise.all(this.#loops)
  }

  async #work(deliver: Deliver): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const asked = this.#take()
      this.#asked.add(asked)
      const job = await asked.finally(() => this.#asked.delete(asked))
      if (job === null) continue
      await deliver(job)
    }
  }

  async #take(): Promise<MemoryJob | null> {
    try {
      const job = await this.#call<MemoryJob | null>('take', {})
      if (job === null || !this.#closing.signal.aborted) return job
      await this.release(job) // Asked for before the stop, answered after it.
      return null
    } catch {
      await delay(50) // The queue is away; it is asked again.
      return null
    }
  }

  async #call<Answer>(operation: string, args: unknown): Promise<Answer> {
    const response = await fetch(new URL(operation, this.url), { method: 'POST', body: JSON.stringify(args) })
    const text = await response.text()
    if (!response.ok) throw new Error(`the queue in memory refuses ${operation}: ${text}`)
    return JSON.parse(text)
  }
}
