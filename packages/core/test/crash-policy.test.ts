import { patience, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CrashPolicy, DecidedJob, QueueAdapter } from '../src/index.js'
import { Fixture, refs } from './support/fixture.js'
import { addProcess, addTask } from './support/rows.js'
import { dialect } from './support/sql.js'
import { enqueuedRefs, rowsGone, tableQueueAdapter } from './support/table-queue.js'

describe('what becomes of a job that crashed', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** Leaves jobs as a process that died with them in flight does. */
  async function orphans(jobRefs: readonly string[], onCrash: string | null = null): Promise<void> {
    const processId = `h:1:${jobRefs[0]}`
    await addProcess(fixture.db, processId, { state: 'dead' })
    for (const jobRef of jobRefs) await addTask(fixture.db, processId, jobRef, { jobRef })
    await sql`update holdfast_tasks set on_crash = ${onCrash} where process_id = ${processId}`.execute(
      fixture.db,
    )
  }

  const crashed = (jobRef: string, count: number) =>
    sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values ('table', ${jobRef}, ${count}, ${dialect.now})`.execute(fixture.db)

  const quarantined = async () =>
    (await sql`select job_ref, reason, crashes from holdfast_quarantine order by job_ref`.execute(fixture.db))
      .rows

  it.each<[string, CrashPolicy, string[], string | undefined]>([
    ['requeue', 'requeue', ['a'], undefined],
    ['quarantine', 'quarantine', [], "its crash policy is 'quarantine'"],
    ['a function that names it', () => 'quarantine', [], "its crash policy is 'quarantine'"],
    [
      'a function that decides in full, later',
      async () => ({ kind: 'quarantine', reason: 'a person looks first' }),
      [],
      'a person looks first',
    ],
    ['a function that requeues', async () => ({ kind: 'requeue' }), ['a'], undefined],
  ])('is what onCrash says: %s', async (_, onCrash, enqueued, reason) => {
    await orphans(['a'])
    await fixture.started({ onCrash })
    await rowsGone(fixture.db)
    expect(await enqueuedRefs(fixture.db)).toEqual(enqueued)
    expect(await quarantined()).toEqual(reason === undefined ? [] : [{ job_ref: 'a', reason, crashes: 1 }])
  })

  it('is decided by a function that gets the orphan and its crashes', async () => {
    await crashed('a', 1)
    await orphans(['a'])
    const asked: unknown[] = []
    await fixture.started({
      onCrash: (orphan, crashes) => {
        asked.push([orphan.jobRef, orphan.payload, orphan.cause, crashes])
        return 'quarantine'
      },
    })
    await rowsGone(fixture.db)
    expect(asked).toEqual([['a', 'a', 'crash', 2]])
  })

  it.each(['throws', 'answers nonsense', 'answers a time that is none'])(
    'is put off when the function %s: the row is kept with the error, and asked for again',
    async (how) => {
      const faults: Record<string, () => unknown> = {
        throws: () => {
          throw new Error('the policy is broken')
        },
        'answers nonsense': () => 'perhaps',
        'answers a time that is none': () => ({ kind: 'requeue', notBefore: Number.POSITIVE_INFINITY }),
      }
      let broken = true
      await orphans(['a', 'b', 'c'])
      const survivor = await fixture.started({
        onCrash: ({ jobRef }) => (broken && jobRef === 'b' ? (faults[how]!() as never) : 'requeue'),
      })
      await until(() => (survivor.health().events.recoveryFailed ?? 0) > 0)
      await until(async () => (await enqueuedRefs(fixture.db)).length === 2)
      const { rows } = await sql`select job_ref, attempts, last_error from holdfast_tasks`.execute(fixture.db)
      expect(rows).toEqual([
        {
          job_ref: 'b',
          attempts: 1,
          last_error: expect.stringMatching(/the policy is broken|onCrash must answer/),
        },
      ])
      broken = false
      await rowsGone(fixture.db)
      expect(await enqueuedRefs(fixture.db)).toEqual(['a', 'b', 'c'])
    },
  )

  it('holds up no sweep when the function never answers', async () => {
    let hung = 0
    await orphans(['a'])
    const survivor = await fixture.started({
      gcLockTtl: 800,
      onCrash: () => (hung++ === 0 ? new Promise(() => undefined) : 'requeue'),
    })
    const causes: unknown[] = []
    survivor.on('error', ({ cause }) => causes.push(cause))
    await rowsGone(fixture.db)
    expect(causes).toEqual([expect.objectContaining({ code: 'HOLDFAST_ADAPTER_TIMEOUT' })])
    expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
  })

  it('is what the task says, before what the monitor says', async () => {
    await orphans(['kept'], 'quarantine')
    await orphans(['again'], 'requeue')
    await orphans(['none'])
    await fixture.started({ onCrash: ({ jobRef }) => (jobRef === 'none' ? 'requeue' : 'quarantine') })
    await rowsGone(fixture.db)
    expect(await enqueuedRefs(fixture.db)).toEqual(['again', 'none'])
    expect(await quarantined()).toEqual([expect.objectContaining({ job_ref: 'kept' })])
  })

  it('is written with the task: a task registered with a policy keeps it over the death of its process', async () => {
    const monitor = await fixture.started()
    await monitor.register({ payload: null, jobRef: 'a', onCrash: 'quarantine' })
    const { rows } = await sql`select on_crash from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ on_crash: 'quarantine' }])
    await expect(monitor.register({ payload: null, onCrash: 'no' as never })).rejects.toMatchObject({
      code: 'HOLDFAST_CONFIG',
    })
  })

  it('is quarantine beyond maxRecoveries, whatever anyone says, and nobody is asked', async () => {
    await crashed('a', 3)
    await crashed('b', 3)
    await orphans(['a'])
    await orphans(['b'], 'requeue')
    let asked = 0
    await fixture.started({
      onCrash: () => {
        asked += 1
        return 'requeue'
      },
    })
    await rowsGone(fixture.db)
    expect(asked).toBe(0)
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    const reason = 'in flight in 4 dying processes, more than maxRecoveries (3) allows'
    expect(await quarantined()).toEqual([
      { job_ref: 'a', reason, crashes: 4 },
      { job_ref: 'b', reason, crashes: 4 },
    ])
  })

  it('is to wait longer with every crash, each a little differently; after the first not at all', async () => {
    const seen: DecidedJob[] = []
    const plain = tableQueueAdapter()
    const adapter: QueueAdapter = {
      ...plain,
      capabilities: { ...plain.capabilities, delay: true },
      recover: (jobs, context) => {
        seen.push(...jobs)
        return plain.recover(jobs, context)
      },
    }
    const names = [0, 1, 2, 3].flatMap((count) => refs(20, `after${count}`))
    for (const name of names) if (!name.startsWith('after0')) await crashed(name, Number(name[5]))
    await orphans(names)
    await fixture.started({
      adapters: [adapter],
      recoveryBackoff: 1_000,
      maxRecoveries: 10,
      recoveryRate: Number.POSITIVE_INFINITY,
    })
    await rowsGone(fixture.db)
    const pauses = (crashes: number): number[] =>
      seen
        .filter((job) => job.crashes === crashes)
        .map(({ decision }) => (decision.kind === 'requeue' ? (decision.notBefore ?? 0) : Number.NaN))
    expect(new Set(pauses(1))).toEqual(new Set([0]))
    for (const [crashes, pause] of [
      [2, 2_000],
      [3, 4_000],
      [4, 8_000],
    ] as const) {
      expect(pauses(crashes)).toHaveLength(20)
      expect(Math.min(...pauses(crashes))).toBeGreaterThanOrEqual(0.8 * pause)
      expect(Math.max(...pauses(crashes))).toBeLessThanOrEqual(1.2 * pause)
      expect(new Set(pauses(crashes)).size).toBeGreaterThan(5)
    }
    // A queue may know a better pause than this one, which nobody has asked for.
    for (const { decision, crashes } of seen) {
      expect('backoff' in decision && decision.backoff, `${crashes} crashes`).toBe(crashes > 1)
    }
  })

  it.each<[string, CrashPolicy, object]>([
    ['asks for a pause', () => ({ kind: 'requeue', notBefore: 7 }), { kind: 'requeue', notBefore: 7 }],
    ['asks for none', () => ({ kind: 'requeue', notBefore: 0 }), { kind: 'requeue', notBefore: 0 }],
    [
      'calls its own the monitor’s',
      () => ({ kind: 'requeue', notBefore: 7, backoff: true }),
      { kind: 'requeue', notBefore: 7 },
    ],
    ['names it', () => 'requeue', { kind: 'requeue', notBefore: expect.any(Number), backoff: true }],
    [
      'leaves the pause open',
      () => ({ kind: 'requeue' }),
      { kind: 'requeue', notBefore: expect.any(Number), backoff: true },
    ],
  ])(
    'is marked as the monitor’s own pause only where it is, when the function %s',
    async (_, onCrash, told) => {
      await crashed('a', 1)
      await orphans(['a'])
      const decisions: unknown[] = []
      const plain = tableQueueAdapter()
      const adapter: QueueAdapter = {
        ...plain,
        capabilities: { ...plain.capabilities, delay: true },
        recover: (jobs, context) => {
          decisions.push(...jobs.map(({ decision }) => decision))
          return plain.recover(jobs, context)
        },
      }
      const monitor = fixture.monitor({ adapters: [adapter], onCrash })
      await monitor.pingProcess()
      expect(await monitor.cleanupOrphanedTasks()).toMatchObject({ recovered: 1 })
      expect(decisions).toEqual([told])
    },
  )

  it.each([1, 3])('comes no faster than recoveryRate, with %i processes to sweep', async (sweepers) => {
    const ORPHANS = 1_000
    const processId = 'h:1:many'
    await addProcess(fixture.db, processId, { state: 'dead' })
    const rows = refs(ORPHANS).map(
      (ref, n) => sql`(${processId}, ${sql.lit(n + 1)}, ${ref}, 'table', ${ref}, 'null', ${dialect.now}, 0)`,
    )
    await sql`insert into holdfast_tasks (process_id, nonce, id, queue, job_ref, payload, created_at, attempts)
      values ${sql.join(rows)}`.execute(fixture.db)
    let first: number | undefined
    let recovered = 0
    for (let n = 0; n < sweepers; n++) {
      const monitor = await fixture.started({ recoveryRate: 200 })
      monitor.on('recovered', () => {
        first ??= performance.now()
        recovered += 1
      })
    }
    await until(() => recovered === ORPHANS)
    const took = performance.now() - first!
    // 1,000 at 200 a second; what may be in a bucket at the start is not waited for.
    expect(took).toBeGreaterThan(2_500)
    expect(took).toBeLessThan(patience(20_000))
    expect(await enqueuedRefs(fixture.db)).toEqual(refs(ORPHANS))
  })
})
