import { TaskLostError } from '@holdfast/core'
import type { Job } from 'bullmq'
import { leaveAlone, runScript, type WorkerInternals } from './bullmq.js'
import { linkedSignal } from './call-processor.js'
import { BEGIN } from './scripts/begin.js'

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
        throw run.lost.signal.aborted ? leaveAlone(job) : error
      } finally {
        this.#runs.delete(run)
        linked.unlink()
      }
    }
  }

  /**
   * Aborts the runs whose jobs others have. Those that are this worker's still go on: an error of theirs would use up an
   * attempt.
   */
  async abortLost(): Promise<void> {
    await Promise.all(
      [...this.#runs].map(async (run) => {
        const { worker, job, token, lost } = run
        try {
          if (((await runScript(worker, BEGIN, job.id!, token)) as unknown[]).length > 0) return
          lost.abort(new TaskLostError(`Job ${job.id} is run by others. Discard the result.`))
        } catch (error) {
          worker.emit('error', error as Error)
        }
      }),
    )
  }
}
