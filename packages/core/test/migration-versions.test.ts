import { onPostgres, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrate, migrationProvider, SchemaVersionError, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { Fixture, refs } from './support/fixture.js'
import { dialect } from './support/sql.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

const TABLES = ['processes', 'tasks', 'locks', 'crashes', 'quarantine', 'recoveries', 'migrations'] as const

describe('a schema of another version of the library', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** What a newer version would have recorded. */
  const record = (id: string, breaking: number) =>
    sql`insert into holdfast_migrations (id, applied_at, breaking) values (${id}, ${dialect.now}, ${breaking})`.execute(
      fixture.db,
    )

  /** A newer version's step that does not break this one: more columns, everywhere, and one more table. */
  async function upgradeWithoutBreaking(): Promise<void> {
    for (const table of TABLES) {
      const first = onPostgres() ? sql`` : sql`first`
      await sql`alter table ${sql.id(`holdfast_${table}`)} add column later_note ${dialect.types.text} ${first}`.execute(
        fixture.db,
      )
      await sql`alter table ${sql.id(`holdfast_${table}`)} add column later_count int null default 7`.execute(
        fixture.db,
      )
    }
    await sql`create table holdfast_later (id int primary key)`.execute(fixture.db)
    await record('0002_later', 0)
  }

  async function liveThrough(survivor: TaskMonitor): Promise<void> {
    await survivor.run({ payload: { a: 1 }, jobRef: 'finished' }, async () => undefined)
    const { child } = await fixture.holder({ refs: refs(5) })
    await child.kill()
    await until(async () => (await enqueuedRefs(fixture.db)).length >= 5)
    expect(await enqueuedRefs(fixture.db)).toEqual(refs(5))
    await sql`delete from jobs`.execute(fixture.db)
    const { child: again } = await fixture.holder({ refs: ['job-00000'] })
    await again.kill()
    await until(async () => (await survivor.quarantine.list()).length === 1)
    const [entry] = await survivor.quarantine.list()
    expect(entry).toMatchObject({ jobRef: 'job-00000', crashes: 2 })
    await survivor.quarantine.retry(entry!.id)
    await until(async () => (await enqueuedRefs(fixture.db)).length === 6)
    expect(await taskRows(fixture.db)).toEqual([])
    await until(async () => (await survivor.stats()).processes.length === 1)
  }

  it('newer, not breaking: a whole life goes well, crash and quarantine included', async () => {
    await upgradeWithoutBreaking()
    expect(await migrate(fixture.db)).toEqual([])
    await liveThrough(await fixture.started({ maxRecoveries: 1, recoveryBackoff: 1 }))
  })

  it('newer, not breaking, from one moment to the next: a monitor that runs goes on', async () => {
    const survivor = await fixture.started({ maxRecoveries: 1, recoveryBackoff: 1 })
    const { child } = await fixture.holder({ refs: ['before'] })
    await upgradeWithoutBreaking()
    await child.kill()
    await until(async () => (await enqueuedRefs(fixture.db)).includes('before'))
    await sql`delete from jobs`.execute(fixture.db)
    await sql`delete from enqueued`.execute(fixture.db)
    await liveThrough(survivor)
  })

  it('newer and breaking: start, migrate and the provider refuse, and name the step', async () => {
    await record('0002_harmless', 0)
    await record('0003_breaking', 1)
    const refusal = {
      code: 'HOLDFAST_SCHEMA_VERSION',
      message: expect.stringMatching(/newer version \(0003_breaking\).*Upgrade @holdfast\/core/),
    }
    await expect(fixture.monitor().start()).rejects.toMatchObject(refusal)
    await expect(migrate(fixture.db)).rejects.toMatchObject(refusal)
    const { holdfast_0001_init: init } = await migrationProvider().getMigrations()
    await expect(init.up(fixture.db)).rejects.toMatchObject(refusal)
  })

  it('older: start names the steps that are missing and the call that applies them', async () => {
    await sql`delete from holdfast_migrations`.execute(fixture.db)
    await expect(fixture.monitor().start()).rejects.toMatchObject({
      code: 'HOLDFAST_SCHEMA_VERSION',
      message: expect.stringMatching(/0001_init not applied\. Run `await migrate\(db\)`/),
    })
    expect(await migrate(fixture.db)).toEqual(['0001_init'])
    await fixture.started()
  })

  it('not there at all: start names the call for these very tables', async () => {
    const place = onPostgres()
      ? { schema: 'hold', tablePrefix: 'none_' }
      : { tablePrefix: 'none_', dialect: 'mysql' as const }
    const monitor = new TaskMonitor({ db: fixture.db, adapters: [tableQueueAdapter()], ...fast, ...place })
    const error = await monitor.start().catch((reason) => reason)
    expect(SchemaVersionError.is(error)).toBe(true)
    expect(error.message).toContain(
      onPostgres()
        ? '`await migrate(db, { schema: "hold", tablePrefix: "none_" })`'
        : '`await migrate(db, { tablePrefix: "none_", dialect: "mysql" })`',
    )
  })
})
