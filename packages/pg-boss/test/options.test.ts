import { ConfigError, TaskMonitor } from '@holdfast/core'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type PgBossAdapterOptions, pgBossAdapter } from '../src/index.js'
import { isTen, makeBoss } from './support/boss.js'
import { Fixture } from './support/fixture.js'

let fixture: Fixture
beforeAll(async () => {
  fixture = await Fixture.create()
})
afterAll(() => fixture[Symbol.asyncDispose]())

const messageOf = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    expect(ConfigError.is(error)).toBe(true)
    return (error as Error).message
  }
  throw new Error('no error')
}

describe('wrong options', () => {
  it('are named all at once', () => {
    const wrong = { boss: {}, db: 1, name: '', schema: 7, onExhausted: 'never', mode: 'guard' }
    expect(messageOf(() => pgBossAdapter(wrong as never))).toBe(
      'Wrong options for pgBossAdapter: boss must be a PgBoss, 10.4.2 or 12: {} has no getDb, complete, fail, offWork; ' +
        "db must be the Kysely that the monitor has, on pg-boss's database: 1; name must be a non-empty string: ''; " +
        "schema must be a non-empty string: 7; onExhausted must be 'fail' or 'refundOnce': 'never'; mode is no option.",
    )
    const { boss, db } = fixture
    expect(messageOf(() => pgBossAdapter({ boss, db, name: 'pg-boss@tenant' }))).toBe(
      "Wrong options for pgBossAdapter: name must have no @, behind which the schema is put: 'pg-boss@tenant'.",
    )
    const long = 'x'.repeat(185)
    expect(messageOf(() => pgBossAdapter({ boss, db, name: long, schema: 'tenant' }))).toBe(
      'Wrong options for pgBossAdapter: name and schema must not be longer than 191 characters together, with the @ ' +
        `between them: '${long}@tenant'.`,
    )
    expect(messageOf(() => pgBossAdapter(undefined as never))).toMatch(/boss must be .*; db must be /)
  })

  it('of a handler are named before any job comes', () => {
    const { boss, db } = fixture
    const adapter = pgBossAdapter({ boss, db })
    expect(messageOf(() => adapter.handOff(() => undefined, {} as never))).toBe(
      'Wrong options for adapter.handOff(): concurrency must be a whole number of at least 1: undefined.',
    )
    const rows = { maxRuntime: 0, onCrash: 'x', onOverdue: 'y', perJobResults: 1, concurrency: 1 }
    expect(messageOf(() => adapter.track(() => undefined, rows as never))).toBe(
      'Wrong options for adapter.track(): concurrency is no option; perJobResults must be true or false: 1; ' +
        "onCrash must be 'requeue' or 'quarantine': 'x'; maxRuntime must be milliseconds, at most 2147483647: 0; " +
        "onOverdue must be 'report', 'abort' or 'recover': 'y'.",
    )
  })
})

describe('monitor.start()', () => {
  const start = async (options: Partial<PgBossAdapterOptions>, other = fixture): Promise<unknown> => {
    const adapter = pgBossAdapter({ boss: fixture.boss, db: fixture.db, ...options })
    await using monitor = new TaskMonitor({ db: other.db, adapters: [adapter] })
    return monitor.start().catch((error: Error) => error.message)
  }

  it('names what is missing', async () => {
    expect(await start({ schema: 'elsewhere' })).toBe(
      'There is no pg-boss in the monitor\'s database: no "elsewhere"."job". Start pg-boss first, or name its schema ' +
        'with `pgBossAdapter({ schema })`.',
    )
    const idle = makeBoss({ connectionString: fixture.database.url })
    expect(await start({ boss: idle })).toMatch(
      /^pg-boss (has not started|does not answer): `await boss.start\(\)`/,
    )
  })

  it('refuses what is not one database', async () => {
    await using other = await Fixture.create()
    expect(await start({ boss: other.boss })).toBe(
      'pg-boss is connected to another database than the monitor, which has a "pgboss"."job" too: give both the same one.',
    )
    expect(await start({ db: other.db, boss: other.boss })).toMatch(
      /^pgBossAdapter's db is not on the monitor's database: give both the same Kysely\./,
    )
  })

  it('refuses a schema of pg-boss’s that it does not know', async () => {
    const version = async (n: number): Promise<void> => {
      await sql`update pgboss.version set version = ${n}`.execute(fixture.db)
    }
    const { rows } = await sql<{ version: number }>`select version from pgboss.version`.execute(fixture.db)
    await version(26)
    expect(await start({})).toBe(
      "pg-boss's schema in the database is version 26; this adapter knows 24 (pg-boss 10.4) and 43 or newer (pg-boss 12.35).",
    )
    if (!isTen) {
      await version(99)
      expect(await start({})).toBeUndefined()
      await sql`alter table pgboss.job rename singleton_on to slot`.execute(fixture.db)
      expect(await start({})).toMatch(
        /\(version 99\) is newer than this adapter: its jobs have no singleton_on. Update @holdfast\/pg-boss\.$/,
      )
      await sql`alter table pgboss.job rename slot to singleton_on`.execute(fixture.db)
    }
    await version(rows[0]!.version)
    expect(await start({})).toBeUndefined()
  })

  it('finds a schema as pg-boss does, and starts again after a stop', async () => {
    await using other = await Fixture.create({ schema: 'Boss_2', tables: 'boss_2' })
    const adapter = pgBossAdapter({ boss: other.boss, db: other.db, schema: 'Boss_2' })
    const seen: string[] = []
    const handler = adapter.handOff((job) => void seen.push(job.id), { concurrency: 1 })
    const ids: string[] = []
    for (let n = 0; n < 2; n++) {
      const monitor = new TaskMonitor({ db: other.db, adapters: [adapter] })
      await monitor.start()
      ids.push(await other.add())
      await handler((await other.boss.fetch('q')) as never)
      await monitor.stop()
    }
    expect(seen).toEqual(ids)
    // While it is stopped, a job is given back.
    const late = await other.add()
    const delivered = handler((await other.boss.fetch('q')) as never)
    await (isTen ? delivered : expect(delivered).rejects.toThrow("No longer this worker's"))
    expect(await other.job(late)).toMatchObject({ state: 'retry', retry_limit: 3, retry_count: 0 })
    expect(seen).toEqual(ids)
  })
})
