import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TaskLostError } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { ledgerAdapter } from './support/ledger-queue.js'
import { taskRows } from './support/table-queue.js'

describe('a recovery in a queue elsewhere that fails after the job was made runnable', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('lets the former holder complete the task no more', async () => {
    const queue = ledgerAdapter(fixture.db, false)
    const breaking = {
      ...queue,
      recover: async (...args: Parameters<typeof queue.recover>) => {
        await queue.recover(...args)
        throw new Error('the answer was lost')
      },
    }
    const [zombie, sweeper] = [fixture.monitor(), fixture.monitor({ adapters: [breaking] })]
    for (const monitor of [zombie, sweeper]) await monitor.pingProcess()
    const { processId } = zombie
    const task = await zombie.register({ payload: 1, jobRef: 'a' })
    await sql`update holdfast_processes set state = 'dead' where process_id = ${processId}`.execute(
      fixture.db,
    )
    expect(await sweeper.cleanupOrphanedTasks()).toMatchObject({ recovered: 0, failed: 1 })
    const { rows } = await sql`select ref from jobs`.execute(fixture.db)
    expect(rows).toEqual([{ ref: 'a' }])
    await expect(task.complete()).rejects.toThrow(TaskLostError)
    expect(await taskRows(fixture.db)).toHaveLength(1)
  })
})

describe('a task whose completion in a transaction was refused', () => {
  it('is not open any more', async () => {
    const fixture = await Fixture.create()
    const monitor = fixture.monitor()
    await monitor.pingProcess()
    const task = await monitor.register({ payload: 1 })
    await sql`delete from holdfast_tasks`.execute(fixture.db)
    const completing = fixture.db.transaction().execute((trx) => task.complete({ trx }))
    await expect(completing).rejects.toThrow(TaskLostError)
    expect(task.open).toBe(false)
    await fixture[Symbol.asyncDispose]()
  })
})
