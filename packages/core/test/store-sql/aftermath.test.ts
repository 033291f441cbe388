import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  copyCrashes,
  pruneCrashes,
  readCrashes,
  uncountCrashes,
  writeCrashes,
} from '../../src/store/crashes.js'
import { insertRecoveries, pruneRecoveries, type RecoveryRecord } from '../../src/store/history.js'
import {
  countQuarantine,
  deleteQuarantined,
  findQuarantined,
  insertQuarantine,
  listQuarantine,
  type QuarantineRecord,
  setQuarantinedJobRef,
} from '../../src/store/quarantine.js'
import { inTransaction } from '../../src/store/store.js'
import { GoldenStore } from '../support/golden.js'
import { ago, DAY, HOUR } from '../support/sql.js'

describe('what recoveries leave behind, in SQL', () => {
  let on: GoldenStore
  beforeAll(async () => {
    on = await GoldenStore.create()
  })
  beforeEach(() => on.clear())
  afterAll(() => on[Symbol.asyncDispose]())

  describe('crash counts', () => {
    const counts = (entries: Record<string, number>) => new Map(Object.entries(entries))
    const read = (refs: readonly string[], window = DAY) => readCrashes(on.store, 'table', refs, window)

    it('are written anew or over the old ones', async () => {
      await on.golden('write-crashes', (store) => writeCrashes(store, 'table', counts({ a: 1, b: 2 })))
      await writeCrashes(on.store, 'table', counts({ b: 3, B: 1 }))
      const all = await on.golden('read-crashes', (store) =>
        readCrashes(store, 'table', ['a', 'b', 'B', 'none'], DAY),
      )
      expect(all).toEqual(counts({ a: 1, b: 3, B: 1 }))
      expect(await readCrashes(on.store, 'TABLE', ['a'], DAY)).toEqual(new Map())
    })

    it('are copied to another identity with their age, over what it had', async () => {
      await writeCrashes(on.store, 'table', counts({ a: 3, old: 2, b: 1 }))
      await writeCrashes(on.store, 'other', counts({ a: 9 }))
      await sql`update holdfast_crashes set last_crash_at = ${ago(2 * HOUR)} where job_ref = 'old'`.execute(
        on.db,
      )
      await on.golden('copy-crashes', (store) => copyCrashes(store, 'table', 'a', 'z'))
      await copyCrashes(on.store, 'table', 'a', 'b')
      await copyCrashes(on.store, 'table', 'old', 'aged')
      await copyCrashes(on.store, 'table', 'none', 'nobody')
      expect(await read(['a', 'b', 'z', 'old', 'aged', 'nobody'])).toEqual(
        counts({ a: 3, b: 3, z: 3, old: 2, aged: 2 }),
      )
      expect(await read(['aged'], HOUR)).toEqual(new Map())
      expect(await readCrashes(on.store, 'other', ['a', 'z'], DAY)).toEqual(counts({ a: 9 }))
    })

    it('are taken back one by one, never below none', async () => {
      await writeCrashes(on.store, 'table', counts({ a: 3, b: 0, c: 1 }))
      await writeCrashes(on.store, 'other', counts({ a: 3 }))
      await on.golden('uncount-crashes', (store) => uncountCrashes(store, 'table', ['a', 'b', 'none']))
      expect(await read(['a', 'b', 'c', 'none'])).toEqual(counts({ a: 2, b: 0, c: 1 }))
      expect(await readCrashes(on.store, 'other', ['a'], DAY)).toEqual(counts({ a: 3 }))
    })

    it('are forgotten past the window', async () => {
      await writeCrashes(on.store, 'table', counts({ old: 2, new: 1 }))
      await sql`update holdfast_crashes set last_crash_at = ${ago(2 * HOUR)} where job_ref = 'old'`.execute(
        on.db,
      )
      expect(await read(['old', 'new'], HOUR)).toEqual(counts({ new: 1 }))
      await on.golden('prune-crashes', (store) => pruneCrashes(store, HOUR))
      expect(await read(['old', 'new'])).toEqual(counts({ new: 1 }))
    })
  })

  describe('the history', () => {
    const record = (id: string): RecoveryRecord => ({
      ...{ id, taskId: `p/${id}`, queue: 'table', jobRef: `job ${id}`, newJobRef: null, fromProcess: 'p' },
      ...{ byProcess: 'q', cause: 'crash', crashes: 1, outcome: 'requeued', orphanedForMs: 12.7 },
    })
    const ids = async () => {
      const { rows } = await sql<{ id: string }>`select id from holdfast_recoveries order by id`.execute(
        on.db,
      )
      return rows.map(({ id }) => id)
    }

    it('keeps what was recovered until it is old', async () => {
      const records = [record('a'), { ...record('b'), orphanedForMs: null }]
      await on.golden('insert-recoveries', (store) => insertRecoveries(store, records))
      const { rows } = await sql<Record<string, unknown>>`
        select task_id, queue, job_ref, new_job_ref, from_process, by_process, cause, crashes, outcome, orphaned_for_ms
        from holdfast_recoveries order by id`.execute(on.db)
      const kept = { queue: 'table', new_job_ref: null, from_process: 'p', by_process: 'q', cause: 'crash' }
      expect(rows.map((row) => ({ ...row, ms: row.orphaned_for_ms && Number(row.orphaned_for_ms) }))).toEqual(
        [
          expect.objectContaining({ ...kept, task_id: 'p/a', job_ref: 'job a', crashes: 1, ms: 13 }),
          expect.objectContaining({ ...kept, task_id: 'p/b', outcome: 'requeued', ms: null }),
        ],
      )
      await sql`update holdfast_recoveries set recovered_at = ${ago(2 * HOUR)} where id = 'a'`.execute(on.db)
      await on.golden('prune-recoveries', (store) => pruneRecoveries(store, HOUR))
      expect(await ids()).toEqual(['b'])
    })

    it('of nothing asks nothing', async () => {
      const nothing = on.golden('aftermath-none', async (store) => {
        await insertRecoveries(store, [])
        await insertQuarantine(store, [])
        await writeCrashes(store, 'table', new Map())
        await uncountCrashes(store, 'table', [])
        await readCrashes(store, 'table', [], DAY)
      })
      await nothing
      expect(await ids()).toEqual([])
    })
  })

  describe('the quarantine', () => {
    const record = (id: string, queue = 'table'): QuarantineRecord => ({
      ...{ id, taskId: `p/${id}`, processId: 'p', queue, jobRef: null, payload: ' {"as":"stored"} ' },
      ...{ reason: 'over the cap', lastError: 'died', crashes: 4 },
    })
    const ids = (rows: readonly { id: string }[]) => rows.map(({ id }) => id)

    it('keeps each entry byte for byte, until it is taken out', async () => {
      const records = [record('a'), record('b')]
      await on.golden('insert-quarantine', (store) => insertQuarantine(store, records))
      expect(await on.golden('count-quarantine', countQuarantine)).toBe(2)
      const found = await on.golden('find-quarantined', (store) => findQuarantined(store, 'a'))
      const { quarantinedMsAgo, ...entry } = found!
      expect(entry).toEqual(record('a'))
      expect(Math.abs(quarantinedMsAgo)).toBeLessThan(10_000)
      expect(await findQuarantined(on.store, 'A')).toBeUndefined()
      const locked = await on.golden('find-quarantined-for-update', (store) =>
        inTransaction(store, (inner) => findQuarantined(inner, 'b', true)),
      )
      expect(locked).toMatchObject({ id: 'b', crashes: 4 })
      expect(await deleteQuarantined(on.store, 'A')).toBe(false)
      expect(await on.golden('delete-quarantined', (store) => deleteQuarantined(store, 'a'))).toBe(true)
      expect(await deleteQuarantined(on.store, 'a')).toBe(false)
      expect(await countQuarantine(on.store)).toBe(1)
    })

    it('has an entry take another identity', async () => {
      await insertQuarantine(on.store, [record('a'), record('b')])
      await on.golden('set-quarantined-job-ref', (store) => setQuarantinedJobRef(store, 'a', 'job z'))
      expect([await findQuarantined(on.store, 'a'), await findQuarantined(on.store, 'b')]).toMatchObject([
        { jobRef: 'job z', crashes: 4 },
        { jobRef: null },
      ])
    })

    it('is listed page by page, the latest first, entries of one instant by id', async () => {
      await insertQuarantine(on.store, [record('c'), record('a'), record('b'), record('x', 'other')])
      await sql`update holdfast_quarantine set quarantined_at = '2026-01-02 03:04:05.678'`.execute(on.db)
      await sql`update holdfast_quarantine set quarantined_at = '2026-01-02 03:04:05.677' where id = 'a'`.execute(
        on.db,
      )
      const first = await on.golden('list-quarantine', (store) => listQuarantine(store, { limit: 2 }))
      expect(ids(first)).toEqual(['b', 'c'])
      const next = await on.golden('list-quarantine-next', (store) =>
        listQuarantine(store, { limit: 2, after: 'c' }),
      )
      expect(ids(next)).toEqual(['x', 'a'])
      const ofQueue = await on.golden('list-quarantine-of-queue', (store) =>
        listQuarantine(store, { queue: 'table', after: 'c', limit: 2 }),
      )
      expect(ids(ofQueue)).toEqual(['a'])
      expect(await listQuarantine(on.store, { after: 'a', limit: 2 })).toEqual([])
    })
  })
})
