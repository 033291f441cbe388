import { freshDatabase, type TestDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DecidedJob, QueueAdapter } from '../src/index.js'
import { Children } from './support/children.js'
import {
  createElsewhere,
  type ElsewhereOptions,
  elsewhereAdapter,
  hold,
  type Point,
  queuedRefs,
} from './support/elsewhere.js'
import { Fixture } from './support/fixture.js'
import { addProcess, addTask } from './support/rows.js'
import { dialect } from './support/sql.js'
import { listedIn } from './support/steps.js'
import { taskRows } from './support/table-queue.js'

describe('a row that stands for several jobs of a queue elsewhere', () => {
  let fixture: Fixture
  let queue: TestDatabase
  let children: Children

  beforeEach(async () => {
    fixture = await Fixture.create()
    queue = await freshDatabase()
    await createElsewhere(queue.db)
    children = new Children()
  })
  afterEach(async () => {
    await children[Symbol.asyncDispose]()
    await fixture[Symbol.asyncDispose]()
    await queue[Symbol.asyncDispose]()
  })

  const guarding = (options: ElsewhereOptions = {}) =>
    elsewhereAdapter(queue.db, { guards: true, ...options })

  const listed = (adapter: QueueAdapter = guarding(), maxRecoveries = 3) =>
    listedIn(fixture, { adapters: [adapter], maxRecoveries })

  /** Leaves a row as a pool of workers does that died with these jobs in flight. */
  async function guard(lock: string, jobRefs: readonly string[]): Promise<void> {
    await addProcess(fixture.db, `h:1:${lock}`, { state: 'dead' })
    await addTask(fixture.db, `h:1:${lock}`, lock, { queue: 'elsewhere' })
    await hold(queue.db, lock, jobRefs)
  }

  const crashed = (jobRef: string, count: number) =>
    sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values ('elsewhere', ${jobRef}, ${count}, ${dialect.now})`.execute(fixture.db)

  const crashes = async () => {
    const { rows } = await sql<{ job_ref: string; count: number }>`
      select job_ref, count from holdfast_crashes where count > 0 order by job_ref`.execute(fixture.db)
    return Object.fromEntries(rows.map(({ job_ref, count }) => [job_ref, count]))
  }

  const quarantined = async () =>
    (await sql`select job_ref, crashes, reason from holdfast_quarantine order by job_ref`.execute(fixture.db))
      .rows

  it('has the crash of each counted before any can run, each with the decision that is its own', async () => {
    await crashed('b', 1)
    await crashed('c', 3)
    await guard('pool', ['a', 'b', 'c'])
    await hold(queue.db, 'pool', ['idle'], false)
    const seen: unknown[] = []
    const at = async (point: Point, jobs: readonly DecidedJob[]) => {
      if (point !== 'before recover') return
      seen.push(await crashes())
      seen.push(jobs.map(({ jobRef, crashes, decision }) => [jobRef, crashes, decision.kind]))
    }
    const monitor = await listed(guarding({ at }))
    expect(await monitor.cleanupOrphanedTasks()).toMatchObject({ recovered: 3, quarantined: 1 })
    expect(seen).toEqual([
      { a: 1, b: 2, c: 4 },
      [
        ['a', 1, 'requeue'],
        ['b', 2, 'requeue'],
        ['c', 4, 'quarantine'],
        ['idle', 0, 'requeue'],
      ],
    ])
    expect(await crashes()).toEqual({ a: 1, b: 2, c: 4 })
    expect(await queuedRefs(queue.db)).toEqual(['a', 'b', 'idle'])
    const reason = 'in flight in 4 dying processes, more than maxRecoveries (3) allows'
    expect(await quarantined()).toEqual([{ job_ref: 'c', crashes: 4, reason }])
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it.each(['before recover', 'after recover'] as const)(
    'has each crash counted once, and the cap kept, when its recoverer is killed %s',
    async (point) => {
      await crashed('b', 1)
      await crashed('c', 3)
      await guard('pool', ['a', 'b', 'c'])
      await hold(queue.db, 'pool', ['idle'], false)
      const child = children.start('./elsewhere-recoverer.ts', {
        ...{ url: fixture.database.url, queueUrl: queue.url, guards: true, at: point, signal: 'SIGKILL' },
        monitor: { gcLockTtl: 300_000 },
      })
      await child.exited
      expect(await crashes()).toEqual({ a: 1, b: 2, c: 4 })
      const { rows: marked } = await sql`
        select id from holdfast_tasks where crashes is not null and claim_token is not null`.execute(
        fixture.db,
      )
      expect(marked).toEqual([{ id: 'pool' }])

      const told: unknown[] = []
      const at = (_: Point, jobs: readonly DecidedJob[]) =>
        void told.push(...jobs.map(({ jobRef, crashes, decision }) => [jobRef, crashes, decision.kind]))
      const second = await listed(guarding({ at }))
      await until(async () => {
        await second.cleanupOrphanedTasks()
        return (await taskRows(fixture.db)).length === 0
      })
      expect(await crashes()).toEqual({ a: 1, b: 2, c: 4 })
      expect(await queuedRefs(queue.db)).toEqual(['a', 'b', 'idle'])
      // What was unlocked before the kill is held by nobody any more.
      if (point === 'after recover') expect(told).toEqual([])
      else {
        expect(told).toContainEqual(['a', 1, 'requeue'])
        expect(told).toContainEqual(['b', 2, 'requeue'])
        expect(told).toContainEqual(['c', 4, 'quarantine'])
        expect(told).toContainEqual(['idle', 0, 'requeue'])
      }
    },
  )

  it('has a crash counted at a repeat that the first try did not know of, and none twice', async () => {
    await guard('pool', ['a'])
    const failing = new Set(['a', 'late'])
    const told: unknown[] = []
    const at = (point: Point, jobs: readonly DecidedJob[]) => {
      if (point === 'before recover') told.push(jobs.map(({ jobRef, crashes }) => [jobRef, crashes]))
    }
    const monitor = await listed(guarding({ failing, at }))
    expect(await monitor.cleanupOrphanedTasks()).toMatchObject({ failed: 1 })
    await hold(queue.db, 'pool', ['late'])
    failing.clear()
    await sql`update holdfast_tasks set retry_at = null`.execute(fixture.db)
    expect(await monitor.cleanupOrphanedTasks()).toMatchObject({ recovered: 2 })
    expect(told).toEqual([
      [['a', 1]],
      [
        ['a', 1],
        ['late', 1],
      ],
    ])
    expect(await crashes()).toEqual({ a: 1, late: 1 })
  })

  it('keeps the crashes of those that run again while another of it is refused', async () => {
    await guard('pool', ['a', 'b'])
    const failing = new Set(['b'])
    const sound = guarding()
    /** A queue that answers job by job, and still names those that it has made runnable. */
    const adapter: QueueAdapter = {
      ...sound,
      expand: async (orphans) =>
        orphans.flatMap((orphan) => ['a', 'b'].map((jobRef) => ({ orphan, jobRef }))),
      recover: async (jobs, context) => {
        const outcomes = []
        for (const job of jobs) {
          if (failing.has(job.jobRef!)) outcomes.push({ kind: 'failed', error: 'not now' } as const)
          else if ((await queuedRefs(queue.db)).includes(job.jobRef!)) {
            outcomes.push({ kind: 'alreadyThere' } as const)
          } else outcomes.push(...(await sound.recover([job], context)))
        }
        return outcomes
      },
    }
    const monitor = await listed(adapter)
    expect(await monitor.cleanupOrphanedTasks()).toMatchObject({ recovered: 1, failed: 1 })
    expect(await crashes()).toEqual({ a: 1, b: 1 })
    failing.clear()
    await sql`update holdfast_tasks set retry_at = null`.execute(fixture.db)
    await monitor.cleanupOrphanedTasks()
    expect(await queuedRefs(queue.db)).toEqual(['a', 'b'])
    expect(await crashes()).toEqual({ a: 1, b: 1 })
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('counts no crash of a job that the queue had given to another meanwhile', async () => {
    await crashed('b', 2)
    await guard('pool', ['a', 'b'])
    const recover: QueueAdapter['recover'] = async (jobs) => jobs.map(() => ({ kind: 'alreadyThere' }))
    await (await listed({ ...guarding(), recover })).cleanupOrphanedTasks()
    expect(await crashes()).toEqual({ b: 2 })
  })

  it.each([
    ['requeued', { a: 2 }],
    // One of the two is no crash of it.
    ['alreadyThere', { a: 1 }],
  ] as const)(
    'keeps a crash that a job has had again before its recovery was written down: %s',
    async (kind, counts) => {
      await guard('pool', ['a'])
      const sound = guarding()
      const recover: QueueAdapter['recover'] = async (jobs, context) => {
        await sound.recover(jobs, context)
        await sql`delete from queued`.execute(queue.db)
        await guard('other', ['a'])
        expect(await (await listed()).cleanupOrphanedTasks()).toMatchObject({ recovered: 1 })
        return [kind === 'requeued' ? { kind, jobRef: 'a' } : { kind }]
      }
      // The other sweep passes over what is claimed.
      await (await listed({ ...sound, recover })).cleanupOrphanedTasks()
      expect(await crashes()).toEqual(counts)
      expect(await queuedRefs(queue.db)).toEqual(['a'])
    },
  )

  it('has nothing counted by a recovery that was taken up by another before it came to that', async () => {
    await guard('pool', ['a'])
    let first = true
    const at = async (point: Point) => {
      if (point !== 'before expand' || !first) return
      first = false
      await sql`update holdfast_tasks set claim_token = 'other'`.execute(fixture.db)
    }
    await (await listed(guarding({ at }))).cleanupOrphanedTasks()
    expect(await crashes()).toEqual({})
    const { rows } = await sql`select crashes, claim_token from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ crashes: null, claim_token: 'other' }])
  })

  it('counts no crash when it is given back', async () => {
    await crashed('b', 2)
    await hold(queue.db, 'pool', ['a', 'b'])
    const told: unknown[] = []
    const at = (point: Point, jobs: readonly DecidedJob[]) => {
      if (point === 'before recover') told.push(...jobs.map(({ jobRef, crashes }) => [jobRef, crashes]))
    }
    const monitor = await listed(guarding({ at }))
    await (await monitor.register({ payload: 'pool' })).release()
    expect(told).toEqual([
      ['a', 0],
      ['b', 2],
    ])
    expect(await crashes()).toEqual({ b: 2 })
    expect(await queuedRefs(queue.db)).toEqual(['a', 'b'])
  })
})
