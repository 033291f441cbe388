import { type Child, freshDatabase, type TestDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DecidedJob, RecoveryContext, TaskMonitorOptions } from '../src/index.js'
import { Children } from './support/children.js'
import {
  type Call,
  calls,
  createElsewhere,
  elsewhereAdapter,
  type Point,
  queuedRefs,
} from './support/elsewhere.js'
import type { RecovererOptions } from './support/elsewhere-recoverer.js'
import { Fixture, refs } from './support/fixture.js'
import { Gate } from './support/gate.js'
import { addProcess, addTask } from './support/rows.js'
import { taskRows } from './support/table-queue.js'

/** Claims outlive the patience of every test: whoever takes one up earlier does so since the claimer is dead. */
const PATIENT = { gcLockTtl: 300_000 }

describe('recovery for a queue in another database', () => {
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

  async function recoverer(options: Partial<RecovererOptions> = {}): Promise<{ child: Child; id: string }> {
    const urls = { url: fixture.database.url, queueUrl: queue.url }
    const child = children.start('./elsewhere-recoverer.ts', { ...urls, monitor: PATIENT, ...options })
    return { child, id: (await child.message<{ processId: string }>('ready')).processId }
  }

  const started = (options: Partial<TaskMonitorOptions> = {}) =>
    fixture.started({ adapters: [elsewhereAdapter(queue.db)], ...PATIENT, ...options })

  /** Leaves jobs as a process that died with them in flight does. */
  async function orphans(jobRefs: readonly string[]): Promise<void> {
    await addProcess(fixture.db, 'h:1:dead', { state: 'dead' })
    for (const ref of jobRefs) await addTask(fixture.db, 'h:1:dead', ref, { queue: 'elsewhere', jobRef: ref })
  }

  const rowsGone = () => until(async () => (await taskRows(fixture.db)).length === 0, { what: 'rows end' })

  const outcomes = async () =>
    (
      await sql<{ job_ref: string; outcome: string; crashes: number; by_process: string }>`
        select job_ref, outcome, crashes, by_process from holdfast_recoveries order by job_ref`.execute(
        fixture.db,
      )
    ).rows

  it('makes each orphan runnable exactly once', async () => {
    const { child } = await recoverer({ refs: refs(20) })
    const survivor = await started()
    await child.kill()
    await rowsGone()
    expect(await queuedRefs(queue.db)).toEqual(refs(20))
    expect(await calls(queue.db)).toHaveLength(20)
    expect(await outcomes()).toEqual(
      refs(20).map((job_ref) => ({
        job_ref,
        outcome: 'requeued',
        crashes: 1,
        by_process: survivor.processId,
      })),
    )
  })

  it.each(['before recover', 'after recover'] as const)(
    'killed %s is taken up at once by another process, under the same recovery id',
    async (at) => {
      await orphans(refs(3))
      const first = await recoverer({ at, signal: 'SIGKILL' })
      const { recoveryIds } = await first.child.message<{ recoveryIds: string[] }>('there')
      await first.child.exited
      const { rows: claimed } = await sql`
        select claimed_by from holdfast_tasks where claim_token is not null`.execute(fixture.db)
      expect(claimed).toEqual(Array(3).fill({ claimed_by: first.id }))

      const second = await started()
      await rowsGone()
      expect(await queuedRefs(queue.db)).toEqual(refs(3))
      const told = await calls(queue.db)
      expect(told).toHaveLength(at === 'before recover' ? 3 : 6)
      expect(new Set(told.map((call) => call.recovery_id))).toEqual(new Set(recoveryIds))
      expect((await outcomes()).map(({ by_process, crashes }) => [by_process, crashes])).toEqual(
        Array(3).fill([second.processId, 1]),
      )
    },
  )

  it('would add a job twice to a queue that is not idempotent, so the recovery id is what keeps it once', async () => {
    await orphans(['a'])
    const first = await recoverer({ at: 'after recover', signal: 'SIGKILL', naive: true })
    await first.child.exited
    await started({ adapters: [elsewhereAdapter(queue.db, { naive: true })] })
    await rowsGone()
    expect(await queuedRefs(queue.db)).toEqual(['a', 'a'])
  })

  it('by a process paused in the middle of it is taken up, and what that one does on waking changes nothing', async () => {
    await orphans(refs(3))
    const paused = await recoverer({ at: 'before recover', signal: 'SIGSTOP' })
    await paused.child.message('there')
    await started()
    await rowsGone()
    const before = await outcomes()
    paused.child.resume()
    await until(async () => (await calls(queue.db)).length === 6, { what: 'the paused one calls the queue' })
    // It has settled once it can be stopped, which waits for its sweep.
    paused.child.send('stop')
    await paused.child.message('stopped')
    expect(await queuedRefs(queue.db)).toEqual(refs(3))
    expect(await outcomes()).toEqual(before)
    expect(before).toHaveLength(3)
    expect(types(paused.child)).not.toContain('recovered')
    expect(types(paused.child)).not.toContain('recoveryFailed')
    const { rows } = await sql`select count from holdfast_crashes`.execute(fixture.db)
    expect(rows).toEqual(Array(3).fill({ count: 1 }))
  })

  it('refuses the complete of a zombie whose row is claimed, before its queue has heard of it', async () => {
    const zombie = await recoverer({ refs: ['a'] })
    const stuck = new Gate()
    zombie.child.pause()
    await started({ adapters: [elsewhereAdapter(queue.db, { at: () => stuck.reached() })] })
    await stuck.arrived
    zombie.child.resume()
    zombie.child.send('complete')
    expect(await zombie.child.message('completed')).toEqual({
      type: 'completed',
      codes: ['HOLDFAST_TASK_LOST'],
    })
    expect(await calls(queue.db)).toEqual([])
    stuck.open()
    await rowsGone()
    expect(await queuedRefs(queue.db)).toEqual(['a'])
  })

  it('keeps a job that its queue refuses, with the error, while the others of its batch go on', async () => {
    const failing = new Set(['job-00003'])
    await orphans(refs(7))
    const survivor = await started({ adapters: [elsewhereAdapter(queue.db, { failing })] })
    const failures: unknown[] = []
    survivor.on('recoveryFailed', (event) => failures.push(event))
    await until(() => failures.length > 0)
    const { rows } = await sql`
      select job_ref, attempts, last_error, claimed_by from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([
      {
        job_ref: 'job-00003',
        attempts: 1,
        last_error: 'the queue refuses job-00003',
        claimed_by: null,
      },
    ])
    expect(await queuedRefs(queue.db)).toEqual(refs(7).filter((ref) => !failing.has(ref)))
    failing.clear()
    await rowsGone()
    expect(await queuedRefs(queue.db)).toEqual(refs(7))
  })

  it('counts and tells the crash of a job that runs again before its recovery is written down', async () => {
    await orphans(['a'])
    const stuck = new Gate()
    const at = (point: Point) => (point === 'after recover' ? stuck.reached() : undefined)
    const slow = await started({ adapters: [elsewhereAdapter(queue.db, { at })] })
    const told: unknown[] = []
    slow.on('recovered', (event) => told.push(event))
    await stuck.arrived
    const quick = fixture.monitor({ adapters: [elsewhereAdapter(queue.db)], ...PATIENT })
    await quick.pingProcess()
    const again = await quick.register({ payload: null, jobRef: 'a' })
    stuck.open()
    await until(() => told.length > 0)
    expect(await outcomes()).toEqual([
      { job_ref: 'a', outcome: 'requeued', crashes: 1, by_process: slow.processId },
    ])
    expect(told).toMatchObject([{ jobRef: 'a', outcome: 'requeued', crashes: 1 }])
    const { rows } = await sql`select job_ref, count from holdfast_crashes`.execute(fixture.db)
    expect(rows).toEqual([{ job_ref: 'a', count: 1 }])
    await again.complete()
  })

  it.each([
    ['an outcome that is none', () => [{ kind: 'nonsense' }]],
    ['nothing', () => undefined],
    ['a job reference that can’t be stored', () => [{ kind: 'requeued', jobRef: 'x'.repeat(500) }]],
  ])('keeps a job for which its adapter answers %s', async (_, answer) => {
    const sound = elsewhereAdapter(queue.db)
    const recover = async (jobs: readonly DecidedJob[], context: RecoveryContext) =>
      jobs.some(({ jobRef }) => jobRef === 'b') ? (answer() as never) : sound.recover(jobs, context)
    await orphans(['a', 'b', 'c'])
    const survivor = await started({ adapters: [{ ...sound, recover }] })
    await until(() => (survivor.health().events.recoveryFailed ?? 0) > 0)
    await until(async () => (await queuedRefs(queue.db)).length === 2)
    const { rows } = await sql<{ job_ref: string; last_error: string }>`
      select job_ref, last_error from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ job_ref: 'b', last_error: expect.stringContaining('HOLDFAST_ADAPTER: ') }])
  })

  it('gives up on an adapter that hangs, and tries again with the next sweep', async () => {
    let hung = 0
    const at = (): Promise<void> | undefined => (hung++ === 0 ? new Promise(() => undefined) : undefined)
    await orphans(['a', 'b'])
    const survivor = await started({
      adapters: [elsewhereAdapter(queue.db, { at })],
      gcLockTtl: 1_000,
    })
    const causes: unknown[] = []
    survivor.on('error', ({ cause }) => causes.push(cause))
    await rowsGone()
    expect(causes).toEqual([expect.objectContaining({ code: 'HOLDFAST_ADAPTER_TIMEOUT' })])
    expect(await queuedRefs(queue.db)).toEqual(['a', 'b'])
  })

  it('takes times that are no whole milliseconds', async () => {
    await orphans(['a'])
    const adapters = [elsewhereAdapter(queue.db)]
    const monitor = fixture.monitor({ adapters, gcLockTtl: 60_000.5, safetyMargin: 200.25 })
    await monitor.pingProcess()
    expect(await monitor.cleanupOrphanedTasks()).toMatchObject({ recovered: 1, failed: 0 })
  })

  it('has no transaction to join', async () => {
    const recover = async (_: readonly DecidedJob[], { trx }: RecoveryContext) => Promise.reject(trx)
    await orphans(['a'])
    const survivor = await started({ adapters: [{ ...elsewhereAdapter(queue.db), recover }] })
    const failed = await until(() => (survivor.health().events.recoveryFailed ?? 0) > 0)
    expect(failed).toBe(true)
    const { rows } = await sql<{ last_error: string }>`select last_error from holdfast_tasks`.execute(
      fixture.db,
    )
    expect(rows[0]!.last_error).toMatch(/^HOLDFAST_ADAPTER: .*"elsewhere" declares atomicRecovery: false/)
  })

  it('recovers what was given back or left at stop, which is no crash', async () => {
    const monitor = await started()
    const released = await monitor.register({ payload: null, jobRef: 'released' })
    await monitor.register({ payload: null, jobRef: 'stopped' })
    await released.release({ payload: { why: 'later' } })
    await monitor.stop({ drain: 0 })
    expect(await queuedRefs(queue.db)).toEqual(['released', 'stopped'])
    const { rows } = await sql`select ref, crashes, payload from calls order by ref`.execute(queue.db)
    expect(rows).toEqual([
      { ref: 'released', crashes: 0, payload: '{"why":"later"}' },
      { ref: 'stopped', crashes: 0, payload: 'null' },
    ])
    expect(await taskRows(fixture.db)).toEqual([])
    expect((await sql`select * from holdfast_crashes`.execute(fixture.db)).rows).toEqual([])
  })

  it('by three processes racing over 300 orphans makes each runnable once', async () => {
    const monitor = { ...PATIENT, batchSize: 20 }
    await orphans(refs(300))
    await Promise.all([recoverer({ monitor }), recoverer({ monitor }), started({ batchSize: 20 })])
    await rowsGone()
    expect(await queuedRefs(queue.db)).toEqual(refs(300))
    expect(twice(await calls(queue.db))).toEqual([])
    expect(await outcomes()).toHaveLength(300)
  })

  it('with no lock to keep three apart makes each runnable once', async () => {
    await orphans(refs(100))
    const monitors = await Promise.all(
      [0, 1, 2].map(async () => {
        const adapters = [elsewhereAdapter(queue.db)]
        const monitor = fixture.monitor({ adapters, ...PATIENT, orphanThreshold: 60_000, batchSize: 7 })
        await monitor.pingProcess()
        return monitor
      }),
    )
    const counts = await Promise.all(monitors.map((monitor) => monitor.cleanupOrphanedTasks()))
    expect(counts.reduce((sum, { recovered }) => sum + recovered, 0)).toBe(100)
    expect(await queuedRefs(queue.db)).toEqual(refs(100))
    expect(twice(await calls(queue.db))).toEqual([])
    expect(await taskRows(fixture.db)).toEqual([])
  })
})

const types = (child: Child): string[] => child.messages.map((message) => (message as { type: string }).type)

const twice = (told: readonly Call[]): string[] =>
  told.map(({ ref }) => ref).filter((ref, n, all) => all.indexOf(ref) !== n)
