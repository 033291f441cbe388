import { sql } from 'kysely'
import type { Run } from './run.js'

/** Wakes graphile-worker's pools for `count` jobs; they otherwise look only at their next poll. */
export async function notify(run: Run, count: number): Promise<void> {
  if (count === 0) return
  const message = JSON.stringify({ r: Math.random(), count })
  await run(sql`select pg_notify('jobs:insert', ${message})`)
}
