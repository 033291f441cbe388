import { onPostgres, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { expect, it } from 'vitest'
import type { QueueAdapter } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { addProcess, addTask } from './support/rows.js'
import { enqueuedRefs, tableQueueAdapter } from './support/table-queue.js'

it('what an adapter sends after its recovery took too long is not executed, outside of any transaction', async () => {
  await using fixture = await Fixture.create()
  const { db } = fixture
  await addProcess(db, 'h:1:dead', { state: 'dead' })
  await addTask(db, 'h:1:dead', 'a', { jobRef: 'a' })
  const table = tableQueueAdapter()
  const late: unknown[] = []
  const slow: QueueAdapter = {
    ...table,
    async recover(jobs, context) {
      if (late.length > 0) return table.recover(jobs, context)
      await (onPostgres() ? sql`select pg_sleep(1.5)` : sql`select sleep(1.5)`).execute(context.trx)
      const outcomes = await table.recover(jobs, context).catch((error) => {
        late.push(error)
        throw error
      })
      late.push('executed')
      return outcomes
    },
  }
  const monitor = fixture.monitor({ adapters: [slow], gcLockTtl: 700 })
  await monitor.start()
  await until(() => late.length > 0)
  expect(late).toEqual([expect.objectContaining({ code: 'HOLDFAST_ADAPTER' })])
  await until(async () => (await enqueuedRefs(db)).length > 0)
  // Recovered by the next try, and by that alone.
  expect(await enqueuedRefs(db)).toEqual(['a'])
})
