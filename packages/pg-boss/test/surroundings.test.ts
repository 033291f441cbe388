import { requiredUrl, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('through PgBouncer in transaction mode', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create({ serverUrl: requiredUrl('HOLDFAST_PGBOUNCER_URL') })
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'handOff'] as const)('jobs of a killed worker run again (%s)', async (way) => {
    const victim = await fixture.worker({ way })
    const fine = await fixture.add({ result: 1 })
    await fixture.finished(1)
    await fixture.add({ gate: 'open' })
    await fixture.add({ gate: 'open', fail: 'broken' }, { retryLimit: 1 })
    await fixture.started(3)
    await fixture.worker({ way })
    await victim.kill()
    await fixture.started(5)
    await fixture.openGate('open')
    await until(async () =>
      (await fixture.jobs()).every(({ state }) => ['completed', 'failed'].includes(state)),
    )
    await fixture.settled()
    expect(await fixture.job(fine)).toMatchObject({ state: 'completed', retry_count: 0 })
    await fixture.inState('failed', 1)
  })
})

describe('a database whose connections break', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'handOff'] as const)(
    'while jobs begin and end: each ends once, in the process that had it (%s)',
    async (way) => {
      const worker = await fixture.worker({ way, workers: 8, monitor: { orphanThreshold: 30_000 } })
      const good: string[] = []
      for (let n = 0; n < 12; n++) good.push(await fixture.add({ gate: 'open', result: n }))
      const bad = await fixture.add({ gate: 'open', fail: 'broken' }, { retryLimit: 0 })
      await fixture.started(5)
      await fixture.openGate('open')
      for (let n = 0; n < 5; n++) {
        await sql`select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid()`.execute(fixture.db)
        const { length } = await fixture.ledger('start')
        await until(async () => (await fixture.ledger('start')).length > length, { timeout: 1_000 }).catch(
          () => undefined,
        )
      }
      await until(async () =>
        (await fixture.jobs()).every(({ state }) => ['completed', 'failed'].includes(state)),
      )
      await fixture.settled()
      expect(await fixture.job(bad)).toMatchObject({ state: 'failed' })
      for (const id of good) expect(await fixture.job(id)).toMatchObject({ state: 'completed' })
      expect(new Set((await fixture.ledger('start')).map(({ pid }) => pid))).toEqual(new Set([worker.pid]))
      expect(await fixture.crashes()).toEqual([])
    },
  )
})
