import { connect, onPostgres } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrate } from '../../src/index.js'
import { beat } from '../../src/store/processes.js'
import { openStore } from '../../src/store/store.js'
import { touchTasks } from '../../src/store/tasks.js'
import { Fixture } from '../support/fixture.js'
import { addProcess, addTask, nonceOf } from '../support/rows.js'

/** What other systems got wrong about heartbeats in SQL. */
describe('heartbeats in SQL', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
    await addProcess(fixture.db, 'p')
    await addTask(fixture.db, 'p', 't')
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const textOfTimes = async () => {
    const text = (name: string) => sql`cast(${sql.ref(name)} as char(40))`
    const { rows } = await sql`
      select ${text('created_at')} as created, ${text('p.started_at')} as started
      from holdfast_tasks as t join holdfast_processes as p on p.process_id = t.process_id`.execute(
      fixture.db,
    )
    return rows
  }

  it('leave the times of the start as they were', async () => {
    const before = await textOfTimes()
    const store = openStore(fixture.db, {})
    for (let n = 0; n < 3; n++) {
      expect(await beat(store, 'p', 1_000)).toBeDefined()
      expect(await touchTasks(store, 'p', [nonceOf('t')])).toEqual(new Set([nonceOf('t')]))
    }
    expect(await textOfTimes()).toEqual(before)
  })

  it('count as alive when many beat at once', async () => {
    const store = openStore(fixture.db, {})
    const answers = await Promise.all(Array.from({ length: 20 }, () => beat(store, 'p', 1_000)))
    expect(answers.filter((answer) => answer === undefined)).toEqual([])
    const { rows } = await sql<{ beat: unknown }>`select beat from holdfast_processes`.execute(fixture.db)
    expect(Number(rows[0]!.beat)).toBe(27)
  })

  it.skipIf(onPostgres())(
    'count as alive in one and the same instant, on connections that count changes (so MySQL’s kind)',
    async () => {
      const frozen = connect(fixture.database.url, 1)
      await sql`set timestamp = 1800000000.123`.execute(frozen)
      const again = sql`update holdfast_processes set last_seen_at = utc_timestamp(3)`
      await again.execute(frozen)
      expect((await again.execute(frozen)).numAffectedRows).toBe(0n)
      const store = openStore(frozen, {})
      const first = await beat(store, 'p', 1_000)
      expect(first).toBeDefined()
      expect(await beat(store, 'p', 1_000)).toBe(first)
      // A task that made progress twice in the same instant is this process's still.
      expect(await touchTasks(store, 'p', [nonceOf('t')])).toEqual(new Set([nonceOf('t')]))
      expect(await touchTasks(store, 'p', [nonceOf('t')])).toEqual(new Set([nonceOf('t')]))
      await frozen.destroy()
    },
  )

  it.skipIf(onPostgres()).each(['on', 'off'])(
    'can’t change a column of MySQL’s kind by themselves, explicit_defaults_for_timestamp being %s',
    async (value) => {
      const db = connect(fixture.database.url, 1)
      await sql`set explicit_defaults_for_timestamp = ${sql.raw(value)}`.execute(db)
      await migrate(db, { tablePrefix: 'other_' })
      const { rows } = await sql<{ extra: string; count: number }>`
      select extra as extra, count(*) as count from information_schema.columns
      where table_schema = database() and table_name like 'other%' group by extra`.execute(db)
      expect(rows.map(({ extra }) => extra)).toEqual([''])
      expect(Number(rows[0]!.count)).toBeGreaterThan(50)
      await db.destroy()
    },
  )
})
