import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Lease } from '../src/lease.js'
import { Fixture } from './support/fixture.js'
import { addProcess } from './support/rows.js'
import { ago, HOUR } from './support/sql.js'
import { taskRows } from './support/table-queue.js'

const times = { heartbeatInterval: 100, orphanThreshold: 400, safetyMargin: 100 }

describe('who may judge whom', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const expired = (processId: string, orphanThreshold: number) =>
    addProcess(fixture.db, processId, { leaseMs: -HOUR, seenMsAgo: HOUR, orphanThreshold })

  it('a process judges another only after beating without a gap for as long as the other’s lease', async () => {
    await expired('h:1:short', 500)
    await expired('h:1:long', 3_000)
    const monitor = await fixture.started()
    const fenced: string[] = []
    const gapFreeWhenFenced = new Map<string, number>()
    monitor.on('sweep', (event) => {
      for (const processId of event.fenced) {
        fenced.push(processId)
        gapFreeWhenFenced.set(processId, monitor.health().gapFreeForMs)
      }
    })
    await until(() => fenced.length === 2)
    expect(fenced).toEqual(['h:1:short', 'h:1:long'])
    expect(gapFreeWhenFenced.get('h:1:long')).toBeGreaterThanOrEqual(3_000)
  })

  it('leaves alone whoever came back to life between being seen and being fenced', async () => {
    await expired('h:1:back', 500)
    const monitor = await fixture.started()
    await sql`update holdfast_processes set lease_expires_at = ${ago(-HOUR)}
      where process_id = 'h:1:back'`.execute(fixture.db)
    let sweeps = 0
    monitor.on('sweep', () => sweeps++)
    await until(() => sweeps > 8)
    expect((await monitor.stats()).processes.find((p) => p.processId === 'h:1:back')).toMatchObject({
      state: 'alive',
    })
    expect(await taskRows(fixture.db)).toEqual([])
  })
})

describe('the local lease', () => {
  it('ends a safety margin before the database’s would', () => {
    const lease = new Lease(times)
    expect(lease.expired).toBe(true)
    lease.renew(performance.now(), 1_000)
    expect(lease.remaining()).toBeLessThanOrEqual(300)
    expect(lease.remaining()).toBeGreaterThan(200)
    const late = new Lease(times)
    late.renew(performance.now() - 301, 1_000)
    expect(late.expired).toBe(true)
  })

  it('is not shortened by the late answer to an earlier heartbeat', () => {
    const lease = new Lease(times)
    const now = performance.now()
    lease.renew(now, 1_000)
    lease.renew(now - 250, 750)
    expect(lease.remaining()).toBeGreaterThan(200)
  })

  it('counts gap-free time from the first of regular beats, and from zero after a failed, a late or a clock-stepped one', () => {
    const now = performance.now()
    const beats = (...sent: (readonly [at: number, databaseMs: number])[]): Lease => {
      const lease = new Lease(times)
      for (const [at, databaseMs] of sent) lease.renew(now + at, databaseMs)
      return lease
    }
    expect(beats([-200, 800], [-100, 900], [0, 1_000]).gapFreeFor()).toBe(200)
    expect(beats([-400, 600], [-100, 900], [0, 1_000]).gapFreeFor()).toBe(100)
    expect(beats([-200, 800], [-100, 5_000], [0, 5_100]).gapFreeFor()).toBe(100)
    const failed = beats([-200, 800], [-100, 900])
    failed.interrupt()
    failed.renew(now, 1_000)
    expect(failed.gapFreeFor()).toBe(0)
  })
})
