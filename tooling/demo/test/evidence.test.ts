import { type AnyDatabase, freshDatabase, type TestDatabase } from '@holdfast/chaos'
import { startServices } from '@holdfast/services'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { enqueue } from '../src/database/enqueue.js'
import { readEvidence } from '../src/database/evidence.js'
import { readHeld } from '../src/database/held.js'
import { prepare } from '../src/database/prepare.js'
import { readSnapshot } from '../src/database/snapshot.js'
import { judge } from '../src/result/verdict.js'

const DEAD = 'host:1:dead'

let services: Awaited<ReturnType<typeof startServices>>
let database: TestDatabase
let db: AnyDatabase
beforeAll(async () => {
  services = await startServices(['postgres'])
})
afterAll(() => services.stop())
beforeEach(async () => {
  database = await freshDatabase(services.get('postgres').url)
  db = database.db
  await prepare(database, true)
  await enqueue(db, 4)
  return () => database[Symbol.asyncDispose]()
})

const refOf = async (job: number): Promise<string> =>
  (await db.selectFrom('demo_jobs').select('ref').where('job', '=', job).executeTakeFirstOrThrow()).ref

async function recover(jobRef: string, newJobRef: string, fromProcess = DEAD): Promise<void> {
  await sql`
    insert into holdfast_recoveries (id, task_id, queue, job_ref, new_job_ref, from_process, by_process, cause, crashes, outcome,
      recovered_at)
    values (gen_random_uuid(), 't', 'q', ${jobRef}, ${newJobRef}, ${fromProcess}, 'host:2:x', 'crash', 1, 'requeued',
      clock_timestamp())`.execute(db)
}

async function note(what: string, job: number, process_id = DEAD): Promise<void> {
  await db.insertInto('ledger').values({ what, job, process_id, worker: 'worker 1', attempt: 1 }).execute()
}

test('every second job is handed off, and none is lost on the way', async () => {
  const { jobs, ledger, recoveries, remains } = await readEvidence(db)
  expect(jobs.map(({ kind }) => kind)).toEqual(['guard', 'handOff', 'guard', 'handOff'])
  expect({ ledger, recoveries }).toEqual({ ledger: [], recoveries: [] })
  expect(remains).toEqual({ jobs: 4, tasks: 0, quarantined: 0 })
})

test('a job is known again under each new id it got', async () => {
  await recover(await refOf(2), '1001')
  await recover('1001', '1002', 'host:3:also-dead')
  await recover('5000', '5001')
  const { recoveries } = await readEvidence(db)
  expect(recoveries.map(({ job, fromProcess }) => [job, fromProcess])).toEqual([
    [2, DEAD],
    [2, 'host:3:also-dead'],
    [null, DEAD],
  ])
})

test('a job that one death made runnable twice is seen to be recovered twice', async () => {
  await note('start', 2)
  await recover(await refOf(2), '1001')
  await recover(await refOf(2), '1002')
  const verdict = judge(await readEvidence(db), { processId: DEAD, held: [{ job: 2 }] })
  expect(verdict.recoveredTwice).toEqual([2])
})

test('so is one that was started twice after one recovery', async () => {
  const ref = await refOf(1)
  await note('start', 1)
  await recover(ref, ref)
  await new Promise((resolve) => setTimeout(resolve, 5))
  await note('start', 1, 'host:2:x')
  const killed = { processId: DEAD, held: [{ job: 1 }] }
  expect(judge(await readEvidence(db), killed).recoveredTwice).toEqual([])
  await note('start', 1, 'host:4:y')
  expect(judge(await readEvidence(db), killed).recoveredTwice).toEqual([1])
})

test('a worker holds what its pool has locked, what it has in hand, and what was taken from it already', async () => {
  await db.insertInto('demo_pools').values({ pool_id: 'pool-a', worker: 'worker 1', pid: 1 }).execute()
  await sql`
    insert into holdfast_processes (process_id, state, hostname, pid, label, version, heartbeat_interval_ms,
      orphan_threshold_ms, beat, epoch, started_at, last_seen_at, lease_expires_at)
    values (${DEAD}, 'alive', 'host', 1, 'worker 1', '0', 500, 2000, 0, 0, now(), now(), now() + interval '9 s')`.execute(
    db,
  )
  await sql`
    update graphile_worker._private_jobs set locked_by = 'pool-a', locked_at = now()
    where (payload->>'job')::int in (1, 2)`.execute(db)
  for (const job of [2, 4]) {
    const payload = { kind: 'handOff', lockId: 'pool-a', job: { payload: JSON.stringify({ job }) } }
    await sql`
      insert into holdfast_tasks (process_id, nonce, id, queue, job_ref, payload, created_at, attempts)
      values (${DEAD}, ${sql.lit(job)}, gen_random_uuid(), 'q', ${await refOf(job)}, ${JSON.stringify(payload)}, now(), 0)`.execute(
      db,
    )
  }
  const ofWorker = { worker: 'worker 1', processId: DEAD }
  // Job 2 is just being handed off: it is in both places and counts once.
  expect((await readHeld(db, ofWorker)).map(({ job }) => job)).toEqual([1, 2, 4])
  expect(await readSnapshot(db)).toMatchObject({
    inFlight: 3,
    waiting: 2,
    finished: 0,
    workers: [{ worker: 'worker 1', inFlight: 3, processId: DEAD, state: 'alive' }],
  })
  await recover(await refOf(3), await refOf(3))
  expect((await readHeld(db, ofWorker)).map(({ job }) => job)).toEqual([1, 2, 3, 4])
})
