import { isConnectionError, type JobInternals, type QueueInternals } from './bullmq.js'
import { endAs } from './recover.js'

type End = (...args: unknown[]) => Promise<unknown>

/** The commands by which a run ends. */
const NAMES = [
  'moveToCompleted',
  'moveToFailed',
  'moveToWait',
  'moveToDelayed',
  'moveToWaitingChildren',
] as const

export type Ends = Readonly<Record<(typeof NAMES)[number], End>>

/** BullMQ's own, whatever is made of them later. */
export const endsOf = (job: object): Ends =>
  Object.fromEntries(NAMES.map((name) => [name, (job as Ends)[name].bind(job)])) as unknown as Ends

/**
 * Ends a run by its worker's connection, which outlives what that runs; or by the adapter's own where that was cut, as by a
 * worker that is closed by force.
 */
export async function endByEither(
  { id, queue: worker }: JobInternals,
  ends: Ends,
  own: QueueInternals,
  end: (ends: Ends) => Promise<unknown>,
): Promise<void> {
  if (!worker.closed) {
    try {
      await end(ends)
      return
    } catch (error) {
      if (!isConnectionError(error)) throw error
    }
  }
  const job = await own.getJob(id!)
  if (job === undefined) return // Removed: somebody wanted that.
  endAs(job, worker.opts)
  await end(endsOf(job))
}
