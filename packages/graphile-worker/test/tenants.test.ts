import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('two schemas of graphile-worker in one database, under the name of default', () => {
  let a: Fixture
  let b: Fixture
  beforeEach(async () => {
    a = await Fixture.create({ schema: 'tenant_a' })
    b = await a.tenant('tenant_b')
  })
  afterEach(() => a[Symbol.asyncDispose]())

  // Of several named queues that are free at once graphile-worker may pass over some until its next poll.
  const options = { pollInterval: 200, monitor: { heartbeatInterval: 500, orphanThreshold: 10_000 } }

  const TASKS = ['guarded', 'tracked', 'handed'] as const

  /** The same jobs under the same ids in both. Answers what those in place are locked by in b. */
  const bothRun = async (): Promise<(string | null)[]> => {
    for (const tenant of [a, b]) {
      for (const task of TASKS) await tenant.add(task, { gate: 'open' }, { queueName: task })
    }
    await a.started(6)
    for (const tenant of [a, b]) await until(async () => (await tenant.jobs()).length === 2)
    expect((await a.jobs()).map(({ id }) => id)).toEqual((await b.jobs()).map(({ id }) => id))
    return (await b.jobs()).map(({ lockedBy }) => lockedBy)
  }

  const query = async (what: string): Promise<string[]> => {
    const { rows } = await sql<{ found: string }>`${sql.raw(what)}`.execute(a.db)
    return rows.map(({ found }) => found)
  }

  const rowsOfJobs = (): Promise<string[]> =>
    query(`select queue || ' ' || job_ref as found from holdfast_tasks where job_ref is not null order by 1`)

  const finishAll = async (): Promise<void> => {
    await a.openGate('open')
    await a.finished(6)
    for (const tenant of [a, b]) {
      await until(async () => (await tenant.jobs()).length === 0)
      expect(await tenant.lockedQueues()).toEqual([])
    }
    expect(await a.ledger('finish')).toHaveLength(6)
    await until(async () => (await a.tasks()).every(({ kind }) => kind === 'guard'))
    expect(await a.quarantine()).toEqual([])
  }

  it('with a fleet each: jobs of a killed worker run again in its own, and the other’s are left alone', async () => {
    const victim = await a.worker(options)
    const other = await b.worker(options)
    const held = await bothRun()
    expect(await rowsOfJobs()).toEqual(
      ['a', 'b'].flatMap((tenant) => ['2', '3'].map((id) => `graphile-worker@tenant_${tenant} ${id}`)),
    )
    const survivor = await a.worker(options)
    await victim.kill()
    await a.started(9)
    expect((await a.ledger('start')).slice(6).map(({ pid }) => pid)).toEqual(Array(3).fill(survivor.pid))
    const left = await b.jobs()
    expect(left.map(({ lockedBy, attempts }) => [lockedBy, attempts])).toEqual(held.map((lock) => [lock, 1]))
    await finishAll()
    const pids = (await a.ledger('finish')).map(({ pid }) => pid).sort()
    expect(pids).toEqual([...Array(3).fill(survivor.pid), ...Array(3).fill(other.pid)].sort())
    const locks = await query(`select name as found from holdfast_locks order by name`)
    expect(locks).toEqual(['gc:graphile-worker@tenant_a', 'gc:graphile-worker@tenant_b'])
    const crashed = await query(`select distinct queue as found from holdfast_crashes`)
    expect(crashed).toEqual(['graphile-worker@tenant_a'])
  })

  it('with one monitor for both: each job of a killed one runs again, in its own schema', async () => {
    const both = { ...options, moreSchemas: ['tenant_b'] }
    const victim = await a.worker(both)
    await bothRun()
    const survivor = await a.worker(both)
    await victim.kill()
    await a.started(12)
    for (const tenant of [a, b]) {
      await until(async () => (await tenant.jobs()).length === 2)
      expect((await tenant.jobs()).map(({ attempts }) => attempts)).toEqual([2, 2])
    }
    expect(await rowsOfJobs()).toHaveLength(6)
    await finishAll()
    expect(
      (await a.ledger('finish')).every(({ pid, attempts }) => pid === survivor.pid && attempts === 2),
    ).toBe(true)
    const crashed = await query(`select distinct queue as found from holdfast_crashes order by 1`)
    expect(crashed).toEqual(['graphile-worker@tenant_a', 'graphile-worker@tenant_b'])
  })
})
