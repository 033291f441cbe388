import { setTimeout as delay } from 'node:timers/promises'
import { TaskLostError } from '@holdfast/core'
import { type Beginning, expiryOf } from './delivery.js'
import { isStillThis, LOOK } from './let-go.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { inDatabase } from './run.js'
import { giveUp } from './settle.js'

/**
 * Ends the row of a job whose end pg-boss 12 writes by itself, unless its transaction does; not before pg-boss has failed
 * the job: a process that dies between would leave an active job without a row. Never rejects, since nobody waits for it;
 * a stop of the monitor ends it.
 */
export async function endAfterBoss(
  protectedBoss: ProtectedBoss,
  { monitor }: Running,
  beginning: Beginning,
): Promise<void> {
  if (beginning.kind !== 'begun') return
  const { job, row } = beginning
  const { parts, report } = protectedBoss
  const run = inDatabase(parts.db)
  const deadline = performance.now() + expiryOf(job)
  // By the first look pg-boss has committed mostly: one question is enough then.
  for (let looks = 0; ; looks++) {
    await delay(LOOK)
    if ((await monitor.settle(row)) !== 'open') return
    try {
      if (!(await isStillThis(run, parts.tables, [job]))) return await row.complete()
    } catch (error) {
      if (TaskLostError.is(error)) return
      if (looks === 0) report(error)
    }
    if (performance.now() > deadline) {
      const error = new Error('pg-boss has not written how this job ended.')
      return giveUp(protectedBoss, { ...beginning, end: { kind: 'failed', error } }, error)
    }
  }
}
