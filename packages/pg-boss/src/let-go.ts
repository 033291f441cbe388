import { setTimeout as delay } from 'node:timers/promises'
import type { BossJob } from './boss.js'
import { expiryOf } from './delivery.js'
import { holdOff } from './job-sql.js'
import type { ProtectedBoss } from './protected-boss.js'
import { inDatabase } from './run.js'

/** Milliseconds between looks. */
const LOOK = 250

/**
 * Resolves when pg-boss 10 may say that these jobs are completed: it says so by id alone, of whatever is active. So not
 * while anyone is at work on them, nor while anyone may begin before that is said. No longer than until the jobs expire
 * for this worker: pg-boss 10 then fails them whatever is done here.
 */
export async function letGo(
  { parts: { db, tables }, report }: ProtectedBoss,
  jobs: readonly BossJob[],
): Promise<void> {
  if (jobs.length === 0) return
  const run = inDatabase(db)
  const { name } = jobs[0]!
  const ids = jobs.map(({ id }) => id)
  const deadline = performance.now() + Math.max(...jobs.map(expiryOf))
  for (let looks = 0; performance.now() < deadline; looks++) {
    try {
      if ((await holdOff(run, tables, name, ids)) === 0) return
    } catch (error) {
      if (looks === 0) report(error)
    }
    await delay(LOOK)
  }
}
