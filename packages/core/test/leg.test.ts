import { kyselyVersion, onPostgres } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('this run of the tests', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is on the database and the version of Kysely that it names, in this process and in its children', async () => {
    const { HOLDFAST_TEST_DB: leg = 'postgres', HOLDFAST_TEST_KYSELY: kysely } = process.env
    const { rows } = await sql<{ version: string }>`select version() as version`.execute(fixture.db)
    const named: Record<string, RegExp> = {
      postgres: /^PostgreSQL 18/,
      pgbouncer: /^PostgreSQL 18/,
      'postgres@14': /^PostgreSQL 14/,
      mariadb: /^10\.11.*MariaDB/,
      mysql: /^9\.\d+\.\d+(?!.*MariaDB)/,
    }
    expect(rows[0]!.version).toMatch(named[leg]!)
    expect(onPostgres()).toBe(rows[0]!.version.startsWith('PostgreSQL'))
    const { child } = await fixture.holder()
    child.send('versions')
    const loaded = await child.message<{ kysely: string }>('versions')
    for (const version of [await kyselyVersion(), loaded.kysely]) {
      if (kysely) expect(version).toBe(kysely)
      else expect(version).toMatch(/^0\.28\./)
    }
  })
})
