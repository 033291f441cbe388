import { adminUrl, connect, onPostgres, STEPPED_CLOCK, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture, refs } from './support/fixture.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

/**
 * A database clock that can be stepped by an offset that the test sets. On Postgres our own clock_timestamp() comes
 * before the built-in one in the search path; MySQL's can't be replaced, so there the connection adds the offset.
 */
describe('the database’s clock', () => {
  let fixture: Fixture
  let url: string

  beforeEach(async () => {
    fixture = await Fixture.create()
    await sql`create table clock_offset (ms bigint)`.execute(fixture.db)
    await sql`insert into clock_offset values (0)`.execute(fixture.db)
    url = fixture.database.url
    if (!onPostgres()) {
      url = `${url}?${STEPPED_CLOCK}`
      return
    }
    await sql`
      create function public.clock_timestamp() returns timestamptz language sql volatile as
      $$ select pg_catalog.clock_timestamp() + (select ms from public.clock_offset) * interval '1 millisecond' $$`.execute(
      fixture.db,
    )
    const { pathname } = new URL(url)
    const direct = connect(new URL(pathname, adminUrl()).href, 1)
    await sql`alter database ${sql.id(pathname.slice(1))} set search_path = public, pg_catalog`.execute(
      direct,
    )
    // A pooler's connections too would keep their search path.
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`.execute(direct)
    await direct.destroy()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const step = (ms: number) => sql`update clock_offset set ms = ${ms}`.execute(fixture.db)

  /** Sweeps that ended since now. */
  const sweepsPass = async (
    monitor: Awaited<ReturnType<Fixture['started']>>,
    count: number,
  ): Promise<void> => {
    const before = monitor.health().events.sweep ?? 0
    await until(() => (monitor.health().events.sweep ?? 0) >= before + count)
  }

  it('stepping an hour ahead, again and again, makes nobody recover the living', async () => {
    const holders = await Promise.all([0, 1].map((n) => fixture.holder({ url, refs: refs(5, `h${n}`) })))
    const db = connect(url)
    const monitor = await fixture.started({ db })
    for (let hour = 1; hour <= 8; hour++) {
      await sweepsPass(monitor, 3)
      await step(hour * 3_600_000)
    }
    await sweepsPass(monitor, 8)
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    for (const { child } of holders) {
      child.send('complete')
      expect(await child.message('completed')).toEqual({ type: 'completed', codes: Array(5).fill('ok') })
    }
    await monitor.stop()
    await db.destroy()
  })

  it('stepping an hour back keeps nobody from sweeping, nor a dead process from being found', async () => {
    const { child } = await fixture.holder({ url, refs: refs(3) })
    const db = connect(url)
    const monitor = await fixture.started({ db })
    await sweepsPass(monitor, 2)
    await child.kill()
    await step(-3_600_000)
    await until(async () => (await enqueuedRefs(fixture.db)).length === 3)
    expect(await taskRows(fixture.db)).toEqual([])
    await monitor.stop()
    await db.destroy()
  })
})
