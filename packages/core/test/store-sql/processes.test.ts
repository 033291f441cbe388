import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { resolveConfig } from '../../src/options.js'
import {
  beat,
  deleteEmptyProcesses,
  fenceExpired,
  insertProcess,
  isAlive,
  jobHolder,
  listProcesses,
  releaseProcess,
} from '../../src/store/processes.js'
import { mortal } from '../support/fast.js'
import { GoldenStore } from '../support/golden.js'
import { addProcess, addTask, stateOf } from '../support/rows.js'
import { dialect, HOUR } from '../support/sql.js'
import { tableQueueAdapter } from '../support/table-queue.js'

describe('processes in SQL', () => {
  let on: GoldenStore
  beforeAll(async () => {
    on = await GoldenStore.create()
  })
  beforeEach(() => on.clear())
  afterAll(() => on[Symbol.asyncDispose]())

  const rowOf = async (processId: string) => {
    const { rows } = await sql<Record<string, unknown>>`
      select state, hostname, pid, label, version, capacity, heartbeat_interval_ms, orphan_threshold_ms, beat,
        ${dialect.msSince(sql.ref('last_seen_at'))} as seen, ${dialect.msSince(sql.ref('lease_expires_at'))} as lapsed
      from holdfast_processes where process_id = ${processId}`.execute(on.db)
    const { beat: beats, seen, lapsed, ...row } = rows[0]!
    return { ...row, beat: Number(beats), seen: Number(seen), lapsed: Number(lapsed) }
  }
  const databaseMs = async () =>
    Number((await sql<{ now: number }>`select ${dialect.nowMs} as now`.execute(on.db)).rows[0]!.now)
  const judge = { processId: 'judge', heartbeatInterval: 100, gapFreeMs: 5_000, beatAgeMs: 1_000 }
  const always = () => true

  it('insertProcess makes a process known for one lease and answers the database’s clock', async () => {
    const adapters = [tableQueueAdapter()]
    const { config } = resolveConfig({ db: on.db, adapters, ...mortal, label: 'blue', capacity: 5 })
    const process = { processId: 'p', hostname: 'host', pid: 42, version: '1.2.3' }
    const before = await databaseMs()
    const now = await on.golden('insert-process', (store) => insertProcess(store, process, config))
    expect(now).toBeGreaterThanOrEqual(before - 1)
    expect(now).toBeLessThanOrEqual((await databaseMs()) + 1)
    const { seen, lapsed, ...row } = await rowOf('p')
    expect(row).toEqual({
      ...{ state: 'alive', hostname: 'host', pid: 42, label: 'blue', version: '1.2.3', capacity: 5, beat: 0 },
      ...{ heartbeat_interval_ms: 200, orphan_threshold_ms: 1_000 },
    })
    expect(seen - lapsed).toBeGreaterThanOrEqual(999)
    expect(seen - lapsed).toBeLessThanOrEqual(1_001)
  })

  it('beat prolongs the lease of a living process and answers the database’s clock', async () => {
    await addProcess(on.db, 'p', { leaseMs: -HOUR, seenMsAgo: HOUR })
    const before = await databaseMs()
    expect(await on.golden('beat', (store) => beat(store, 'p', 90_000))).toBeGreaterThanOrEqual(before - 1)
    const { beat: beats, seen, lapsed } = await rowOf('p')
    expect(beats).toBe(8)
    expect(seen).toBeLessThan(60_000)
    expect(lapsed).toBeLessThan(-30_000)
  })

  it('beat finds no living process once it is dead, and brings none back', async () => {
    await addProcess(on.db, 'p', { state: 'dead' })
    expect(await on.golden('beat-of-the-dead', (store) => beat(store, 'p', 90_000))).toBeUndefined()
    expect(await rowOf('p')).toMatchObject({ state: 'dead', beat: 7 })
  })

  it('fenceExpired looks without locks while nobody is dead', async () => {
    await addProcess(on.db, 'judge')
    await addProcess(on.db, 'other')
    expect(await on.golden('fence-nobody', (store) => fenceExpired(store, judge, always))).toEqual([])
    expect(await stateOf(on.db, 'other')).toBe('alive')
  })

  it('fenceExpired fences exactly the processes whose lease is over', async () => {
    await addProcess(on.db, 'judge')
    await addProcess(on.db, 'dead', { leaseMs: -HOUR, seenMsAgo: HOUR })
    await addProcess(on.db, 'living')
    await addProcess(on.db, 'patient', { leaseMs: -HOUR, seenMsAgo: HOUR, orphanThreshold: 5_001 })
    await addProcess(on.db, 'released', { state: 'released', leaseMs: -HOUR })
    const fenced = await on.golden('fence-expired', (store) => fenceExpired(store, judge, always))
    expect(fenced).toEqual(['dead'])
    for (const [processId, state] of Object.entries({
      ...{ judge: 'alive', dead: 'dead', living: 'alive', patient: 'alive', released: 'released' },
    })) {
      expect(await stateOf(on.db, processId), processId).toBe(state)
    }
  })

  it('fenceExpired fences nobody for a judge that is dead, or that may not judge any more under the lock', async () => {
    await addProcess(on.db, 'dead', { leaseMs: -HOUR, seenMsAgo: HOUR })
    await addProcess(on.db, 'judge', { state: 'dead' })
    expect(await on.golden('fence-refused', (store) => fenceExpired(store, judge, always))).toEqual([])
    await sql`update holdfast_processes set state = 'alive' where process_id = 'judge'`.execute(on.db)
    expect(await fenceExpired(on.store, judge, () => false)).toEqual([])
    expect(await stateOf(on.db, 'dead')).toBe('alive')
  })

  it('isAlive tells the living from those found dead', async () => {
    await addProcess(on.db, 'p', { leaseMs: -HOUR })
    expect(await on.golden('is-alive', (store) => isAlive(store, 'p'))).toBe(true)
    await addProcess(on.db, 'dead', { state: 'dead' })
    expect([await isAlive(on.store, 'dead'), await isAlive(on.store, 'gone')]).toEqual([false, false])
  })

  it('jobHolder finds whose a job is, and whether that process may be dead or the row is being recovered', async () => {
    await addProcess(on.db, 'p')
    await addProcess(on.db, 'late', { leaseMs: -1_000 })
    await addProcess(on.db, 'dead', { state: 'dead' })
    await addTask(on.db, 'p', 'a', { jobRef: 'of p' })
    await addTask(on.db, 'p', 'b', { jobRef: 'claimed', claim: { by: 'p', token: 't', ms: HOUR } })
    await addTask(on.db, 'late', 'c', { jobRef: 'of late' })
    await addTask(on.db, 'dead', 'd', { jobRef: 'of dead' })
    await addTask(on.db, 'gone', 'e', { jobRef: 'of gone' })
    const holder = (ref: string) => jobHolder(on.store, 'table', ref)
    const ofP = await on.golden('job-holder', (store) => jobHolder(store, 'table', 'of p'))
    expect(ofP).toEqual({ processId: 'p', state: 'alive' })
    expect(await holder('claimed')).toEqual({ processId: 'p', state: 'recovering' })
    for (const processId of ['late', 'dead', 'gone']) {
      expect(await holder(`of ${processId}`)).toEqual({ processId, state: 'dead' })
    }
    expect(await holder('of nobody')).toBeUndefined()
    expect(await jobHolder(on.store, 'other', 'of p')).toBeUndefined()
  })

  it('releaseProcess ends a life that goes on, and leaves a dead one dead', async () => {
    await addProcess(on.db, 'p')
    await on.golden('release-process', (store) => releaseProcess(store, 'p'))
    expect(await stateOf(on.db, 'p')).toBe('released')
    await addProcess(on.db, 'dead', { state: 'dead' })
    await releaseProcess(on.store, 'dead')
    expect(await stateOf(on.db, 'dead')).toBe('dead')
  })

  it('deleteEmptyProcesses forgets only those that are not alive and own nothing', async () => {
    await addProcess(on.db, 'alive')
    await addProcess(on.db, 'dead', { state: 'dead' })
    await addProcess(on.db, 'owner', { state: 'dead' })
    await addProcess(on.db, 'released', { state: 'released' })
    await addTask(on.db, 'owner', 't')
    await on.golden('delete-empty-processes', deleteEmptyProcesses)
    const { rows } = await sql<{ process_id: string }>`
      select process_id from holdfast_processes order by process_id`.execute(on.db)
    expect(rows.map(({ process_id }) => process_id)).toEqual(['alive', 'owner'])
  })

  it('listProcesses answers each process with its tasks and its ages', async () => {
    await addProcess(on.db, 'old', { seenMsAgo: HOUR, leaseMs: -HOUR })
    await addProcess(on.db, 'young')
    await addTask(on.db, 'young', '1')
    await addTask(on.db, 'young', '2')
    const [old, young, ...more] = await on.golden('list-processes', listProcesses)
    expect(more).toEqual([])
    expect(old).toMatchObject({ processId: 'old', state: 'alive', hostname: 'host', pid: 1, tasks: 0 })
    expect(old!.lastSeenMsAgo).toBeGreaterThanOrEqual(HOUR)
    expect(old!.leaseEndsInMs).toBeLessThanOrEqual(-HOUR)
    expect(young).toMatchObject({ processId: 'young', label: null, tasks: 2 })
    expect(young!.leaseEndsInMs).toBeGreaterThan(0)
  })
})
