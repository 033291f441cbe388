import { type Child, requiredUrl, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

/** Two jobs of each kind run in a killed process, and then in another. */
async function survives(fixture: Fixture, victim: Child, makeSurvivor: () => Promise<Child>): Promise<void> {
  const inPlace: string[] = []
  for (let n = 0; n < 2; n++) {
    for (const task of ['guarded', 'tracked', 'handed'] as const) {
      const id = await fixture.add(task, { gate: 'open' }, n === 0 ? { queueName: task } : {})
      if (task !== 'handed') inPlace.push(id)
    }
  }
  await fixture.started(6)
  await until(async () => (await fixture.jobs()).length === 4)
  await victim.kill()
  const survivor = await makeSurvivor()
  await fixture.started(12)
  await fixture.openGate('open')
  await fixture.finished(6)
  await until(async () => (await fixture.jobs()).length === 0)
  expect(await fixture.lockedQueues()).toEqual([])
  const finishes = await fixture.ledger('finish')
  const finished = finishes.map(({ job }) => job)
  expect(new Set(finished).size).toBe(6)
  expect(finished).toEqual(expect.arrayContaining(inPlace))
  expect(finishes.every(({ pid, attempts }) => pid === survivor.pid && attempts === 2)).toBe(true)
}

describe('jobs of a killed process run again', () => {
  it('in a schema of the user’s', async () => {
    await using fixture = await Fixture.create({ schema: 'my "jobs"' })
    await survives(fixture, await fixture.worker(), () => fixture.worker())
  })

  it('through PgBouncer, which keeps no prepared statement and no LISTEN', async () => {
    // The pooler stands before the newest Postgres, whichever the leg's is.
    await using fixture = await Fixture.create({ serverUrl: requiredUrl('HOLDFAST_POSTGRES_URL') })
    const url = new URL(requiredUrl('HOLDFAST_PGBOUNCER_URL'))
    url.pathname = new URL(fixture.database.url).pathname
    const options = { url: url.href, runner: { noPreparedStatements: true }, pollInterval: 100 }
    await survives(fixture, await fixture.worker(options), () => fixture.worker(options))
  })

  it('of several runners, each with a row of its own', async () => {
    await using fixture = await Fixture.create()
    const options = { runners: 3, concurrency: 2 }
    const victim = await fixture.worker(options)
    expect((await fixture.tasks()).map(({ kind }) => kind)).toEqual(['guard', 'guard', 'guard'])
    await survives(fixture, victim, () => fixture.worker(options))
  })
})

describe('runOnce', () => {
  it('leaves no row behind when it has run what was there', async () => {
    await using fixture = await Fixture.create()
    for (const task of ['guarded', 'tracked', 'handed'] as const) await fixture.add(task)
    const once = await fixture.worker({ once: true })
    await once.message('runOnceEnded')
    expect(await fixture.jobs()).toEqual([])
    expect(await fixture.ledger('finish')).toHaveLength(3)
    await until(async () => (await fixture.tasks()).length === 0)
  })

  it('that is killed has its jobs run by the next one', async () => {
    await using fixture = await Fixture.create()
    for (const task of ['guarded', 'tracked'] as const) await fixture.add(task, { gate: 'open' })
    const victim = await fixture.worker({ once: true })
    await fixture.started(2)
    // It runs no recovery by itself: it would find nothing to run before it has begun to beat.
    await fixture.worker({ runner: { taskList: {} } })
    await victim.kill()
    await until(async () => (await fixture.jobs()).every(({ lockedBy }) => lockedBy === null))
    await fixture.openGate('open')
    const next = await fixture.worker({ once: true })
    await next.message('runOnceEnded')
    expect(await fixture.jobs()).toEqual([])
    expect((await fixture.ledger('finish')).map(({ pid, attempts }) => [pid, attempts])).toEqual([
      [next.pid, 2],
      [next.pid, 2],
    ])
  })
})

describe('a monitor in MySQL', () => {
  it('recovers jobs of graphile-worker in two phases', async () => {
    await using fixture = await Fixture.create({ monitorInMySql: true })
    await survives(fixture, await fixture.worker(), () => fixture.worker())
    await until(async () => (await fixture.tasks()).length === 1)
    // A handed-off job comes back under another id, and its crash with it.
    expect((await fixture.crashes()).every(({ count }) => count === 1)).toBe(true)
  })

  it('adds no job twice whose recovery was cut short, at whatever point', async () => {
    await using fixture = await Fixture.create({ monitorInMySql: true })
    const victim = await fixture.worker({ concurrency: 25 })
    for (let n = 0; n < 5; n++) {
      await fixture.add('handed', { gate: 'open' })
      await fixture.add('guarded', { gate: 'open' })
    }
    await fixture.started(10)
    await until(async () => (await fixture.jobs()).length === 5)
    await victim.kill()
    // Each is killed a little later than the one before: before, within and after the recovery.
    for (let wait = 0; wait < 8; wait++) {
      const recoverer = await fixture.worker({ runner: { taskList: {} } })
      const since = performance.now()
      await until(() => performance.now() - since > wait * 200)
      await recoverer.kill()
    }
    await fixture.worker({ concurrency: 25, pollInterval: 500, monitor: { orphanThreshold: 10_000 } })
    await fixture.openGate('open')
    await fixture.finished(10)
    await until(async () => (await fixture.jobs()).length === 0)
    await until(async () => (await fixture.tasks()).length === 1)
    const finishes = await fixture.ledger('finish')
    expect(finishes).toHaveLength(10)
    expect(new Set(finishes.map(({ attempts }) => attempts))).toEqual(new Set([2]))
    expect((await fixture.crashes()).every(({ count }) => count === 1)).toBe(true)
    const processes = () => sql`select * from holdfast_processes`.execute(fixture.monitorDatabase.db)
    await until(async () => (await processes()).rows.length === 1, { what: 'the killed ones are forgotten' })
  })

  it('refuses to end a tracked job in a transaction that it can’t be part of', async () => {
    await using fixture = await Fixture.create({ monitorInMySql: true })
    await fixture.worker()
    await fixture.add('tracked', { inTransaction: 'never' }, { maxAttempts: 1 })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({
        lastError: expect.stringContaining("needs the monitor in graphile-worker's database"),
      }),
    ])
    expect(await fixture.ledger('effect')).toEqual([])
  })
})
