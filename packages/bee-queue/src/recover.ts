import { type DecidedJob, type JobOutcome, type RecoveryContext, recoverEach } from '@holdfast/core'
import { failedJob, withoutPastDelay } from './job-json.js'
import { failureSettings, type JobPayload, jobRefOf, otherId } from './payloads.js'
import type { ProtectedQueue } from './protected-queue.js'
import { RESTORE } from './scripts/restore.js'

/** Seconds that a recovery is remembered: longer than a row may stay claimed. */
const REMEMBERED = 7 * 24 * 3_600

/** Carries out each decision by one script, so that it happens once however often it is repeated. */
export function recoverJobs(
  queues: readonly ProtectedQueue[],
  jobs: readonly DecidedJob[],
  context: RecoveryContext,
): Promise<JobOutcome[]> {
  return recoverEach(jobs, context, (job) => recoverJob(queues, job))
}

async function recoverJob(
  queues: readonly ProtectedQueue[],
  { orphan, decision, recoveryId }: DecidedJob,
): Promise<JobOutcome> {
  const payload = orphan.payload as JobPayload
  const { prefix, id, timestamp, token, server, kind, job } = payload
  const queue = queues.find((candidate) => candidate.prefix === prefix)
  if (queue === undefined) {
    throw new Error(
      `No queue with the keys ${JSON.stringify(`${prefix}*`)} in this process: give beeQueueAdapter() the same queues ` +
        'everywhere, or a name of its own for each set of queues.',
    )
  }
  const why = orphan.cause === 'crash' || orphan.cause === 'retry' ? orphan.cause : 'given-back'
  const { sendEvents, removeOnFailure } = payload.settings ?? failureSettings(queue.queue)
  const reason = decision.kind === 'quarantine' ? decision.reason : undefined
  const failed =
    reason === undefined
      ? ['', '', '', '']
      : [
          failedJob(job, reason),
          sendEvents ? JSON.stringify({ id, event: 'failed', data: reason }) : '',
          queue.queue.toKey('events'),
          removeOnFailure ? '1' : '',
        ]
  const anew = withoutPastDelay(job)
  const [outcome, newId] = (await queue.link.run(
    ...([RESTORE, id, timestamp, token, recoveryId, REMEMBERED, server] as const),
    ...[why, kind === 'handOff' ? '1' : '', otherId(id, recoveryId), anew, ...failed],
  )) as [string, string]
  switch (outcome) {
    case 'requeued':
      return { kind: 'requeued', jobRef: jobRefOf({ prefix, id: newId, timestamp }) }
    case 'failed':
      return { kind: 'quarantined' }
    case 'there':
      return { kind: 'alreadyThere' }
    case 'superseded':
    case 'finished':
      return { kind: outcome }
    case 'alive':
      throw new Error(
        `Process ${token.split('#', 1)[0]} still beats in Redis, so job ${id} is left to it for now.`,
      )
    default:
      throw new Error(`Unexpected answer of Redis: ${outcome}.`)
  }
}
