import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'

export type Kind = 'guard' | 'handOff'

/** graphile-worker's names of the two tasks. */
export const TASKS = { guard: 'call-guarded', handOff: 'call-handed-off' } as const satisfies Record<
  Kind,
  string
>

/** Adds the jobs, numbered from 1, guard and hand-off in turn, and notes what each is called in graphile-worker. */
export async function enqueue(db: AnyDatabase, jobs: number): Promise<void> {
  const { numAffectedRows } = await sql`
    with added as (
      select id, payload from graphile_worker.add_jobs(array(
        select (
          case when n % 2 = 1 then ${TASKS.guard} else ${TASKS.handOff} end,
          json_build_object('job', n, 'kind', case when n % 2 = 1 then 'guard' else 'handOff' end),
          null, null, null, null, null, null
        )::graphile_worker.job_spec
        from generate_series(1, ${jobs}::int) as n order by n))
    )
    insert into demo_jobs (job, kind, ref)
    select (payload->>'job')::int, payload->>'kind', id::text from added`.execute(db)
  if (numAffectedRows !== BigInt(jobs)) throw new Error(`Only ${numAffectedRows} of ${jobs} jobs were added.`)
}
