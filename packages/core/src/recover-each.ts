import type { DecidedJob, JobOutcome, RecoveryContext } from './adapter.js'

/**
 * For an adapter's `recover` where the queue is elsewhere: recovers the jobs side by side, each by itself. One that
 * throws is answered `failed`, and so is what has not begun when `context.signal` aborts; the others go on.
 */
export function recoverEach(
  jobs: readonly DecidedJob[],
  { signal }: Pick<RecoveryContext, 'signal'>,
  recover: (job: DecidedJob) => Promise<JobOutcome>,
): Promise<JobOutcome[]> {
  return Promise.all(
    jobs.map(async (job): Promise<JobOutcome> => {
      try {
        signal.throwIfAborted()
        return await recover(job)
      } catch (error) {
        return { kind: 'failed', error }
      }
    }),
  )
}
