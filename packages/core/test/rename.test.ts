import { freshDatabase, type TestDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Orphan, QueueAdapter, RecoveryContext, TaskMonitor } from '../src/index.js'
import { Children } from './support/children.js'
import {
  createElsewhere,
  type ElsewhereOptions,
  elsewhereAdapter,
  type Point,
  queuedRefs,
} from './support/elsewhere.js'
import { Fixture } from './support/fixture.js'
import { addProcess, addTask } from './support/rows.js'
import { dialect } from './support/sql.js'
import { listedIn } from './support/steps.js'
import { tableQueueAdapter, taskRows } from './support/table-queue.js'

describe('a queue elsewhere that gives a recovered job a new identity', () => {
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

  const renaming = (options: ElsewhereOptions = {}) =>
    elsewhereAdapter(queue.db, { renames: true, ...options })

  const listed = (adapter: QueueAdapter = renaming(), maxRecoveries = 3) =>
    listedIn(fixture, { adapters: [adapter], maxRecoveries })

  /** Leaves a job as a process that died with it in flight does. */
  async function orphan(jobRef: string | null): Promise<string> {
    await addProcess(fixture.db, 'h:1:dead', { state: 'dead' })
    await addTask(fixture.db, 'h:1:dead', 'task', { queue: 'elsewhere', jobRef })
    return 'h:1:dead'
  }

  /** Ends a process as if it had died: what it holds is an orphan. */
  const strike = ({ processId }: TaskMonitor) =>
    sql`update holdfast_processes set state = 'dead' where process_id = ${processId}`.execute(fixture.db)

  const crashes = async () => {
    const { rows } = await sql<{ job_ref: string; count: number }>`
      select job_ref, count from holdfast_crashes where count > 0 order by job_ref`.execute(fixture.db)
    return new Map(rows.map(({ job_ref, count }) => [job_ref, count]))
  }

  const crashed = (jobRef: string, count: number) =>
    sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values ('elsewhere', ${jobRef}, ${count}, ${dialect.now})`.execute(fixture.db)

  const history = async () =>
    (
      await sql<{ job_ref: string; new_job_ref: string; outcome: string; crashes: number }>`
        select job_ref, new_job_ref, outcome, crashes from holdfast_recoveries order by crashes`.execute(
        fixture.db,
      )
    ).rows

  /** The one job that may run. */
  const queued = async (): Promise<string> => {
    const all = await queuedRefs(queue.db)
    expect(all).toHaveLength(1)
    return all[0]!
  }

  it('has it written down before the job can run, with its crashes', async () => {
    await crashed('a', 1)
    const owner = await orphan('a')
    const seen: unknown[] = []
    const at = async (point: Point) => {
      if (point !== 'after rename') return
      seen.push(await queuedRefs(queue.db), await taskRows(fixture.db), await crashes())
    }
    expect(await (await listed(renaming({ at }))).cleanupOrphanedTasks()).toMatchObject({ recovered: 1 })
    const ref = await queued()
    expect(ref).toMatch(/^a~/)
    expect(seen).toEqual([
      [],
      [{ process_id: owner, id: 'task', job_ref: ref }],
      new Map([
        ['a', 2],
        [ref, 2],
      ]),
    ])
    expect(await history()).toEqual([{ job_ref: 'a', new_job_ref: ref, outcome: 'requeued', crashes: 2 }])
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('takes the row over with the next run of the job, so that its recovery ends as if it were written down', async () => {
    await orphan('a')
    const worker = await listed()
    const at = async (point: Point) => {
      if (point === 'after recover') await worker.register({ payload: null, jobRef: await queued() })
    }
    const recoverer = await listed(renaming({ at }))
    expect(await recoverer.cleanupOrphanedTasks()).toMatchObject({ recovered: 1 })
    const ref = await queued()
    expect(await taskRows(fixture.db)).toEqual([expect.objectContaining({ job_ref: ref })])
    expect(await worker.holderOf(ref)).toMatchObject({ processId: worker.processId })
    expect(await history()).toEqual([{ job_ref: 'a', new_job_ref: ref, outcome: 'requeued', crashes: 1 }])
  })

  it('stays under the cap, however often the job crashes before its recovery is written down', async () => {
    await orphan('a')
    /** Runs the job, and dies with it, as soon as it is runnable. */
    const at = async (point: Point) => {
      if (point !== 'after recover' || (await queuedRefs(queue.db)).length === 0) return
      const worker = await listed()
      await worker.register({ payload: null, jobRef: await queued() })
      await sql`delete from queued`.execute(queue.db)
      await strike(worker)
    }
    const recoverer = await listed(renaming({ at }), 2)
    await until(async () => {
      await recoverer.cleanupOrphanedTasks()
      return (await taskRows(fixture.db)).length === 0
    })
    expect((await history()).map(({ outcome, crashes }) => [outcome, crashes])).toEqual([
      ['requeued', 1],
      ['requeued', 2],
      ['quarantined', 3],
    ])
    expect(await queuedRefs(queue.db)).toEqual([])
  })

  it('keeps the count of a crash that the job has had again before its recovery was written down', async () => {
    await orphan('a')
    const at = async (point: Point) => {
      if (point !== 'after recover') return
      const worker = await listed()
      await worker.register({ payload: null, jobRef: await queued() })
      await sql`delete from queued`.execute(queue.db)
      await strike(worker)
      const sweeper = await listed(elsewhereAdapter(queue.db))
      expect(await sweeper.cleanupOrphanedTasks()).toMatchObject({ recovered: 1 })
    }
    await (await listed(renaming({ at }))).cleanupOrphanedTasks()
    expect((await crashes()).get(await queued())).toBe(2)
    expect((await history()).map(({ crashes }) => crashes)).toEqual([1, 2])
  })

  it('takes along the crashes of a job that is given back', async () => {
    await crashed('a', 2)
    const monitor = await listed()
    await (await monitor.register({ payload: null, jobRef: 'a' })).release()
    expect((await crashes()).get(await queued())).toBe(2)
  })

  it.each([false, true])(
    'counts the crash of a job that had no identity before, also when it runs again already: %s',
    async (runs) => {
      await orphan(null)
      const worker = await listed()
      const at = async (point: Point) => {
        if (runs && point === 'after recover')
          await worker.register({ payload: null, jobRef: await queued() })
      }
      expect(await (await listed(renaming({ at }))).cleanupOrphanedTasks()).toMatchObject({ recovered: 1 })
      expect(await crashes()).toEqual(new Map([[await queued(), 1]]))
    },
  )

  it.each(['after rename', 'after recover'] as const)(
    'is told it by a repeat, when its first recoverer was killed %s',
    async (point) => {
      const owner = await orphan('a')
      const child = children.start('./elsewhere-recoverer.ts', {
        ...{ url: fixture.database.url, queueUrl: queue.url, renames: true, at: point, signal: 'SIGKILL' },
        monitor: { gcLockTtl: 300_000 },
      })
      await child.exited
      const [{ job_ref: first } = { job_ref: null }] = await taskRows(fixture.db)
      expect(first).toMatch(/^a~/)
      expect(await queuedRefs(queue.db)).toEqual(point === 'after rename' ? [] : [first])
      const told: (string | null)[] = []
      const adapter = renaming({ at: (_, jobs) => void told.push(...jobs.map(({ jobRef }) => jobRef)) })
      const second = await listed(adapter)
      await until(async () => (await second.cleanupOrphanedTasks()).recovered === 1)
      expect(new Set(told)).toEqual(new Set([first]))
      const ref = await queued()
      expect(ref === first).toBe(point === 'after recover')
      // Counted once, whatever it is called.
      expect((await crashes()).get(ref)).toBe(1)
      const outcome = point === 'after rename' ? 'requeued' : 'alreadyThere'
      expect(await history()).toEqual([{ job_ref: first, new_job_ref: ref, outcome, crashes: 1 }])
      expect(await taskRows(fixture.db), owner).toEqual([])
    },
  )

  it('is told it by the second try of a recovery that threw after it', async () => {
    await addProcess(fixture.db, 'h:1:dead', { state: 'dead' })
    for (const ref of ['a', 'b']) {
      await addTask(fixture.db, 'h:1:dead', ref, { queue: 'elsewhere', jobRef: ref })
    }
    const told: (string | null)[][] = []
    const breaking: QueueAdapter = {
      ...renaming(),
      recover: async (jobs, { rename }) => {
        told.push(jobs.map(({ orphan }) => orphan.jobRef))
        for (const { orphan } of jobs) await rename(orphan, `${orphan.jobRef}'`)
        throw new Error('the answer was lost')
      },
    }
    const monitor = await listed(breaking)
    const failed: unknown[] = []
    monitor.on('recoveryFailed', ({ jobRef }) => failed.push(jobRef))
    expect(await monitor.cleanupOrphanedTasks()).toMatchObject({ failed: 2 })
    expect(told).toEqual([['a', 'b'], ["a'"], ["b'"]])
    expect(failed).toEqual(["a''", "b''"])
    expect((await taskRows(fixture.db)).map(({ job_ref }) => job_ref)).toEqual(["a''", "b''"])
    const counts = await crashes()
    expect([counts.get("a''"), counts.get("b''")]).toEqual([1, 1])
  })

  /** What `rename` does in the middle of a recovery, after `before`. */
  async function renamed(jobRef: string, before: (owner: string) => Promise<unknown>): Promise<unknown> {
    const owner = await orphan('a')
    let answer: unknown
    const recover = async ([job]: readonly { orphan: Orphan }[], { rename }: RecoveryContext) => {
      await before(owner)
      answer = await rename(job!.orphan, jobRef).catch((error) => error)
      return [{ kind: 'failed', error: 'not now' } as const]
    }
    await (await listed({ ...renaming(), recover })).cleanupOrphanedTasks()
    return answer
  }

  it.each<[string, () => Promise<unknown>]>([
    [
      'another process has taken its recovery up',
      () => sql`update holdfast_tasks set claim_token = 'other'`.execute(fixture.db),
    ],
    ['its row has ended', () => sql`delete from holdfast_tasks`.execute(fixture.db)],
    [
      'it runs again already',
      async () => (await listed()).register({ queue: 'elsewhere', payload: null, jobRef: 'a' }),
    ],
  ])('is refused it when %s', async (_, change) => {
    const answer = await renamed("a'", change)
    expect(answer).toMatchObject({
      code: 'HOLDFAST_ADAPTER',
      message: expect.stringContaining('is being recovered by another process, or runs again already'),
    })
    expect((await taskRows(fixture.db)).filter(({ job_ref }) => job_ref !== 'a')).toEqual([])
    expect((await crashes()).has("a'")).toBe(false)
  })

  it('is refused one that another task has', async () => {
    const answer = await renamed('b', async () =>
      addTask(fixture.db, 'h:1:x', 'b', { queue: 'elsewhere', jobRef: 'b' }),
    )
    expect(answer).toMatchObject({
      code: 'HOLDFAST_ADAPTER',
      message: expect.stringContaining('another task is that job'),
    })
    expect((await taskRows(fixture.db)).map(({ job_ref }) => job_ref)).toEqual(['a', 'b'])
  })

  it.each(['', 'x'.repeat(192), 'padded '])('is refused one that can’t be stored: %j', async (jobRef) => {
    expect(await renamed(jobRef, async () => undefined)).toMatchObject({ code: 'HOLDFAST_ADAPTER' })
  })

  it('may be told the one that it has, which changes nothing', async () => {
    expect(await renamed('a', async () => undefined)).toBeUndefined()
    expect(await crashes()).toEqual(new Map([['a', 1]]))
    expect((await taskRows(fixture.db)).map(({ job_ref }) => job_ref)).toEqual(['a'])
  })

  it('has nothing to write down where recovery is one transaction', async () => {
    await addProcess(fixture.db, 'h:1:dead', { state: 'dead' })
    await addTask(fixture.db, 'h:1:dead', 'task', { jobRef: 'a' })
    const seen: unknown[] = []
    const adapter: QueueAdapter = {
      ...tableQueueAdapter(),
      recover: async (jobs, { rename, trx }) => {
        await rename(jobs[0]!.orphan, "a'")
        seen.push((await sql`select job_ref from holdfast_tasks`.execute(trx)).rows)
        return [{ kind: 'requeued', jobRef: "a'" }]
      },
    }
    await (await listed(adapter)).cleanupOrphanedTasks()
    expect(seen).toEqual([[{ job_ref: 'a' }]])
    expect(await crashes()).toEqual(new Map([["a'", 1]]))
  })
})
