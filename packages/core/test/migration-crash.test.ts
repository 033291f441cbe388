import { Child, freshDatabase, type TestDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrate, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import type { KilledMigrationOptions } from './support/killed-migration.js'
import { tableQueueAdapter } from './support/table-queue.js'

const script = new URL('./support/killed-migration.ts', import.meta.url)

describe('a process killed in the middle of migrate()', () => {
  let database: TestDatabase
  beforeEach(async () => {
    database = await freshDatabase()
  })
  afterEach(() => database[Symbol.asyncDispose]())

  /** Answers whether it was killed, rather than done before. */
  async function killedAfter(statements: number, place: KilledMigrationOptions['place']): Promise<boolean> {
    const options: KilledMigrationOptions = { url: database.url, place, statements }
    await using child = new Child(script, { options })
    const { signal, code } = await child.exited
    if (signal !== 'SIGKILL') expect(code, child.output).toBe(0)
    return signal === 'SIGKILL'
  }

  it('leaves, after whichever statement, what the next call completes', { timeout: 180_000 }, async () => {
    let [cuts, next, over] = [0, 1, false]
    const cutAndComplete = async (): Promise<void> => {
      while (!over) {
        const statements = next++
        const place = { tablePrefix: `cut${statements}_` }
        if (await killedAfter(statements, place)) cuts += 1
        else over = true
        const applied = await migrate(database.db, place)
        expect(applied.length).toBeLessThanOrEqual(1)
        const monitor = new TaskMonitor({
          db: database.db,
          adapters: [tableQueueAdapter()],
          ...fast,
          ...place,
        })
        await monitor.start()
        await monitor.run({ payload: null, jobRef: 'a' }, async () => undefined)
        await monitor.stop({ drain: 0 })
        const { rows } = await sql`select id from ${sql.id(`${place.tablePrefix}migrations`)}`.execute(
          database.db,
        )
        expect(rows).toEqual([{ id: '0001_init' }])
      }
    }
    await Promise.all([cutAndComplete(), cutAndComplete()])
    // Seven tables, their record, and what was asked before.
    expect(cuts).toBeGreaterThanOrEqual(10)
  })
})
