import { type HeldJob, type Sample, type Situation, testAdapter } from '@holdfast/adapter-testkit'
import { compiled, legUrl } from '@holdfast/chaos'
import { type RawBuilder, sql } from 'kysely'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { graphileVersion } from './support/graphile.js'
import { addJob, type JobSpec, type KitQueue, kitQueue } from './support/kit-queue.js'

const sample = (name: string, spec: JobSpec, more?: RawBuilder<unknown>): Sample<KitQueue> => ({
  name,
  async add({ db }, work) {
    const job = await addJob(db, work, spec)
    if (more !== undefined) {
      await sql`update graphile_worker._private_jobs set ${more} where id = ${job.id}::bigint`.execute(db)
    }
    return job
  },
})

const samples: readonly Sample<KitQueue>[] = [
  sample('no key', { key: null }),
  sample('a priority', { priority: -7 }),
  sample('a named queue', { queueName: 'serial' }),
  sample('flags', { flags: ['one', 'two'] }),
  sample('its own number of attempts', { maxAttempts: 7 }),
  sample('a time long ago', { runAt: '2020-02-02 02:02:02.123456+00' }),
  sample(
    'earlier attempts, that failed',
    {},
    sql`attempts = 2, last_error = 'an earlier one', created_at = '2020-01-01 01:01:01.654321+00'`,
  ),
  {
    name: 'text that its parsing would change',
    add: ({ db }, work) =>
      addJob(db, work, {
        payload: JSON.stringify(work)
          .replace('{', '{  "gate" : "another", ')
          .replace('"again"', '"\\u0061gain"'),
      }),
  },
]

/** A situation that one statement brings about. */
const situation = (
  { name, outcome, runs, ways }: Omit<Situation<KitQueue>, 'arrange'>,
  statement: (job: HeldJob) => RawBuilder<unknown>,
): Situation<KitQueue> => ({
  ...{ name, outcome, ...(runs === undefined ? {} : { runs }), ...(ways === undefined ? {} : { ways }) },
  async arrange({ db }, job) {
    await statement(job).execute(db)
  },
})

const unlocked = ({ id }: HeldJob) => sql`
  update graphile_worker._private_jobs set locked_by = null, locked_at = null where id = ${id}::bigint`
const taken = ({ id }: HeldJob) => sql`
  update graphile_worker._private_jobs set locked_by = 'another', attempts = 2 where id = ${id}::bigint`
const ended = ({ id }: HeldJob) => sql`
  delete from graphile_worker._private_jobs where id = ${id}::bigint`
const removed = ({ work }: HeldJob) => sql`select graphile_worker.remove_job(${work.key})`
const tried = ({ id }: HeldJob) => sql`
  update graphile_worker._private_jobs set max_attempts = attempts where id = ${id}::bigint`

const situations: readonly Situation<KitQueue>[] = [
  situation({ name: 'unlocked already', outcome: 'alreadyThere', ways: ['track'] }, unlocked),
  situation({ name: 'unlocked already', outcome: 'none', runs: 1, ways: ['guard'] }, unlocked),
  situation({ name: 'locked by another', outcome: 'alreadyThere', runs: 0, ways: ['track'] }, taken),
  situation({ name: 'locked by another', outcome: 'none', ways: ['guard'] }, taken),
  situation({ name: 'completed, with only its row left', outcome: 'finished', ways: ['track'] }, ended),
  situation({ name: 'completed', outcome: 'none', ways: ['guard'] }, ended),
  situation({ name: 'removed by its key', outcome: 'superseded', ways: ['track', 'guard'] }, removed),
  situation({ name: 'on its last attempt', outcome: 'exhausted', ways: ['track', 'guard'] }, tried),
  {
    name: 'replaced by a newer one with its key',
    outcome: 'superseded',
    async arrange({ db }, { work: { key } }) {
      await addJob(db, { key: `newer than ${key}` }, { key })
    },
  },
]

testAdapter(
  { describe, it, beforeAll, afterAll },
  {
    name: `graphile-worker ${graphileVersion}`,
    ways: ['track', 'handOff', 'guard'],
    worker: compiled(new URL('./support/kit-worker.ts', import.meta.url)),
    databases: [legUrl()],
    setup: ({ database }) => kitQueue(database),
    samples,
    situations,
  },
)
