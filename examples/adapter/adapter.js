import { HoldfastError, PayloadError, PayloadTooLargeError, recoverEach } from '@holdfast/core'

/** Connects the queue in memory. */
export function exampleAdapter({ queue, name = 'example' }) {
  let monitor
  return Object.freeze({
    name,
    capabilities: Object.freeze({ atomicRecovery: false, preservesJobId: true, delay: true }),
    onStart(started) {
      monitor = started
    },
    onStop: () => queue.stop(),
    recover: (jobs, context) => recoverEach(jobs, context, (job) => recoverJob(queue, job)),
    /** Wraps a handler: its job stays active in the queue while it runs. */
    track: (handler) => async (job) => {
      let task
      try {
        task = await monitor.register({ queue: name, jobRef: job.id, payload: job })
      } catch (error) {
        const hopeless = PayloadError.is(error) || PayloadTooLargeError.is(error)
        return hopeless ? queue.fail(job, error.message) : queue.release(job, 200)
      }
      try {
        await handler(job, task.signal)
        await queue.complete(job)
      } catch (error) {
        if (task.signal.aborted) return task.release().catch(ignoreLost) // It did not fail by itself.
        await queue.fail(job, error.message)
      }
      await task.complete().catch(ignoreLost)
    },
  })
}

/**
 * Once, however often it is asked for: `release` takes a job from one run only, `restore` knows the recovery.
 *
 * @returns {Promise<import('@holdfast/core').JobOutcome>}
 */
async function recoverJob(queue, { orphan, decision, recoveryId }) {
  const job = orphan.payload
  if (decision.kind === 'quarantine') {
    const found = await queue.bury(job, decision.reason)
    return { kind: found === 'buried' ? 'quarantined' : 'alreadyThere' }
  }
  let found = await queue.release(job, decision.notBefore)
  if ((found === 'completed' || found === 'failed') && orphan.cause !== 'retry') return { kind: 'finished' }
  if (found !== 'released') found = await queue.restore(job, recoveryId, decision.notBefore)
  if (found === 'waiting' || found === 'active') return { kind: 'alreadyThere' }
  return { kind: 'requeued', jobRef: job.id }
}

/** Others have the job by now, and it is theirs to end. A database that is away hears of it later. */
function ignoreLost(error) {
  if (!HoldfastError.is(error)) throw error
}
