import { freshDatabase, type TestDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { QueueAdapter } from '../src/index.js'
import { createElsewhere, elsewhereAdapter, type Point, queuedRefs } from './support/elsewhere.js'
import { Fixture } from './support/fixture.js'
import { Gate } from './support/gate.js'
import { quarantine, quarantinedRows } from './support/quarantine.js'
import { listedIn } from './support/steps.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

describe('a retry in a queue elsewhere that gives the job a new identity', () => {
  let queue: TestDatabase
  beforeEach(async () => {
    queue = await freshDatabase()
    await createElsewhere(queue.db)
    await quarantine(fixture.db, 'a', { queue: 'elsewhere' })
  })
  afterEach(() => queue[Symbol.asyncDispose]())

  const renaming = (at?: (point: Point) => void | Promise<void>): QueueAdapter =>
    elsewhereAdapter(queue.db, { renames: true, ...(at === undefined ? {} : { at }) })

  const listed = (adapter: QueueAdapter) => listedIn(fixture, { adapters: [adapter], maxRecoveries: 10 })

  const crashesOf = async (jobRef: string): Promise<number | undefined> => {
    const { rows } = await sql<{ count: number }>`
      select count from holdfast_crashes where queue = 'elsewhere' and job_ref = ${jobRef}`.execute(
      fixture.db,
    )
    return rows[0]?.count
  }

  it('has it written down before the job can run, with its crashes', async () => {
    const seen: unknown[] = []
    const monitor = await listed(
      renaming(async (point) => {
        if (point !== 'after rename') return
        const [{ job_ref } = { job_ref: '' }] = await quarantinedRows(fixture.db)
        seen.push(await queuedRefs(queue.db), job_ref, await crashesOf(job_ref))
      }),
    )
    const outcome = await monitor.quarantine.retry('a')
    const [ref] = await queuedRefs(queue.db)
    expect(outcome).toEqual({ kind: 'requeued', jobRef: ref })
    expect(seen).toEqual([[], ref, 4])
    expect(await quarantinedRows(fixture.db)).toEqual([])
    expect(await crashesOf(ref!)).toBe(4)
  })

  it('makes it runnable once, also when the answer was lost and it is retried again', async () => {
    let lost = false
    const monitor = await listed(
      renaming((point) => {
        if (point !== 'after recover' || lost) return
        lost = true
        throw new Error('the answer was lost')
      }),
    )
    await expect(monitor.quarantine.retry('a')).rejects.toThrow('the answer was lost')
    const runnable = await queuedRefs(queue.db)
    expect((await quarantinedRows(fixture.db)).map(({ job_ref }) => job_ref)).toEqual(runnable)
    expect(await monitor.quarantine.retry('a')).toEqual({ kind: 'alreadyThere' })
    expect(await queuedRefs(queue.db)).toEqual(runnable)
    expect(await quarantinedRows(fixture.db)).toEqual([])
  })

  it('raced by another makes it runnable once', async () => {
    const gate = new Gate()
    let came = 0
    // Both have looked, and neither has found that the other is at it.
    const at = async (point: Point) => {
      if (point === 'before recover' && ++came === 2) gate.open()
      if (point === 'before recover') await gate.reached()
    }
    const both = [await listed(renaming(at)), await listed(renaming(at))]
    const settled = await Promise.allSettled(both.map(({ quarantine }) => quarantine.retry('a')))
    const codes = settled.map((r) => (r.status === 'fulfilled' ? r.value.kind : (r.reason.code as string)))
    expect(codes).toContain('requeued')
    expect(codes.filter((code) => code !== 'requeued')).toEqual([
      expect.stringMatching(/^HOLDFAST_(ADAPTER|NOT_QUARANTINED)$/),
    ])
    expect(await queuedRefs(queue.db)).toHaveLength(1)
    expect(await quarantinedRows(fixture.db)).toEqual([])
  })

  it('is undone when the entry is discarded meanwhile', async () => {
    const monitor = await listed(
      renaming(async (point) => {
        if (point === 'before recover') await sql`delete from holdfast_quarantine`.execute(fixture.db)
      }),
    )
    await expect(monitor.quarantine.retry('a')).rejects.toMatchObject({ code: 'HOLDFAST_ADAPTER' })
    expect(await queuedRefs(queue.db)).toEqual([])
  })

  it('keeps the count of a crash that the job has had again before that was written down', async () => {
    const monitor = await listed(
      renaming(async (point) => {
        if (point !== 'after recover') return
        const worker = await listed(renaming())
        const [ref] = await queuedRefs(queue.db)
        await worker.register({ payload: null, jobRef: ref! })
        await sql`delete from queued`.execute(queue.db)
        await sql`update holdfast_processes set state = 'dead' where process_id = ${worker.processId}`.execute(
          fixture.db,
        )
        const sweeper = await listed(elsewhereAdapter(queue.db))
        expect(await sweeper.cleanupOrphanedTasks()).toMatchObject({ recovered: 1 })
      }),
    )
    const outcome = await monitor.quarantine.retry('a')
    expect(outcome).toEqual({ kind: 'requeued', jobRef: (await queuedRefs(queue.db))[0] })
    expect(await crashesOf((await queuedRefs(queue.db))[0]!)).toBe(5)
  })
})
