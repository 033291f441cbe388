import { onPostgres, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { ago, DAY, HOUR } from './support/sql.js'
import { tableQueueAdapter } from './support/table-queue.js'

describe('start', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const processes = async (): Promise<unknown[]> =>
    (await sql`select process_id from holdfast_processes`.execute(fixture.db)).rows

  it('called again and at once does nothing more', async () => {
    const monitor = fixture.monitor()
    await Promise.all([monitor.start(), monitor.start()])
    await monitor.start()
    expect(await processes()).toHaveLength(1)
  })

  it('that fails for want of tables can be tried again', async () => {
    const monitor = fixture.monitor({ tablePrefix: 'later_' })
    await expect(monitor.start()).rejects.toMatchObject({ code: 'HOLDFAST_SCHEMA_VERSION' })
    const { migrate } = await import('../src/index.js')
    await migrate(fixture.db, { tablePrefix: 'later_' })
    await monitor.start()
    await monitor.run({ payload: null }, async () => undefined)
  })

  it('that an adapter makes fail leaves no process behind that beats for ever', async () => {
    const broken = { ...tableQueueAdapter(), onStart: () => Promise.reject(new Error('no queue')) }
    const monitor = fixture.monitor({ adapters: [broken] })
    await expect(monitor.start()).rejects.toThrow('no queue')
    await until(async () => (await processes()).length === 0)
    expect(monitor.health().state).toBe('stopped')
  })

  it('while stop is called at once ends stopped', async () => {
    const monitor = fixture.monitor()
    const starting = monitor.start()
    await monitor.stop({ drain: 0 })
    await starting
    expect(await processes()).toEqual([])
    expect(monitor.health().state).toBe('stopped')
  })
})

describe('the tables', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('keep history and crash counts only as long as they are told to', async () => {
    const row = (id: string, days: number) =>
      sql`
      insert into holdfast_recoveries (id, task_id, queue, from_process, by_process, cause, crashes, outcome,
        recovered_at)
      values (${id}, 't', 'table', 'a', 'b', 'crash', 1, 'requeued', ${ago(days * DAY)})`.execute(fixture.db)
    await row('old', 8)
    await row('young', 6)
    await sql`insert into holdfast_crashes values ('table', 'old', 1, ${ago(73 * HOUR)}),
      ('table', 'young', 1, ${ago(71 * HOUR)})`.execute(fixture.db)
    await fixture.started()
    const left = async (): Promise<unknown[]> => [
      ...(await sql`select id from holdfast_recoveries`.execute(fixture.db)).rows,
      ...(await sql`select job_ref from holdfast_crashes`.execute(fixture.db)).rows,
    ]
    await until(async () => (await left()).length === 2)
    expect(await left()).toEqual([{ id: 'young' }, { job_ref: 'young' }])
  })

  it.runIf(onPostgres())(
    'see a heartbeat as one update that no index follows (HOT, so on Postgres only)',
    async () => {
      const monitor = await fixture.started()
      const beats = async (): Promise<{ beats: number; hot: number; updates: number }> => {
        const { rows } = await sql<{ beats: number; hot: number; updates: number }>`
        select beat::int as beats, pg_stat_get_tuples_hot_updated(c.oid)::int as hot,
          pg_stat_get_tuples_updated(c.oid)::int as updates
        from holdfast_processes p, pg_class c where c.relname = 'holdfast_processes'
          and p.process_id = ${monitor.processId}`.execute(fixture.db)
        return rows[0]!
      }
      await until(async () => (await beats()).updates >= 5)
      const { hot, updates } = await beats()
      expect(hot / updates).toBeGreaterThan(0.9)
    },
  )
})
