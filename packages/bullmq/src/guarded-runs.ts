import { setTimeout as delay } from 'node:timers/promises'
import { linkedSignal, TaskLostError } from '@holdfast/core'
import type { Job } from 'bullmq'
import { isLost, leaveAlone, runScript, type WorkerInternals } from './bullmq.js'
import { BEGIN } from './scripts/begin.js'

/** Milliseconds between looks at a lock. */
const RETRY = 250

/** Milliseconds after which a job whose process was declared dead is given back by that process, if no sweep came. */
const PATIENCE = 30_000

interface Run {
  readonly worker: WorkerInternals
  readonly job: Job
  readonly token: string
  readonly lost: AbortController
}

/** What guarded workers run, so that a processor is told when others have its job: BullMQ itself tells nobody. */
export class GuardedRuns {
  readonly #runs = new Set<Run>()

  /** Gives the worker's processor a signal of ours along with BullMQ's own, if it takes one. */
  watch(worker: WorkerInternals): void {
    worker.on('lockRenewalFailed' as never, (() => void this.abortLost()) as never)
    const call = worker.callProcessJob
    worker.callProcessJob = async (job, token, signal) => {
      const run: Run = { worker, job, token, lost: new AbortController() }
      const linked = linkedSignal(run.lost.signal, signal)
      this.#runs.add(run)
      try {
        return await call.call(worker, job, token, linked.signal)
      } catch (error) {
        if (!run.lost.signal.aborted) throw error
        await this.#untilTaken(run)
        throw leaveAlone(job)
      } finally {
        this.#runs.delete(run)
        linked.unlink()
      }
    }
  }

  /** This process was declared dead: a sweep gives others what it runs. */
  abortAll(): void {
    for (const { job, lost } of this.#runs) {
      lost.abort(new TaskLostError(`The process of job ${job.id} was declared dead. Discard the result.`))
    }
  }

  /** Aborts the runs whose jobs others have. The others go on: an error of theirs would use up an attempt. */
  async abortLost(): Promise<void> {
    await Promise.all(
      [...this.#runs].map(async (run) => {
        if (await this.#isLocked(run)) return
        run.lost.abort(new TaskLostError(`Job ${run.job.id} is run by others. Discard the result.`))
      }),
    )
  }

  /** Waits until a sweep has taken a job from this process, so that its next run is not taken for that. */
  async #untilTaken(run: Run): Promise<void> {
    const { worker, job, token } = run
    const end = performance.now() + PATIENCE
    // What a worker that closes has locked, its row gives back.
    while (!worker.closing && (await this.#isLocked(run))) {
      if (performance.now() < end) {
        await delay(RETRY)
        continue
      }
      await job.moveToWait(token).catch((error) => {
        if (!isLost(error)) worker.emit('error', error)
      })
      return
    }
  }

  async #isLocked({ worker, job, token }: Run): Promise<boolean> {
    try {
      return ((await runScript(worker, BEGIN, job.id!, token)) as unknown[]).length > 0
    } catch (error) {
      worker.emit('error', error as Error)
      return true
    }
  }
}
