import { legUrl } from '@holdfast/chaos'
import { sql } from 'kysely'
import { it } from 'vitest'
import { Fleet } from '../src/fleet.js'
import { memoryTests } from './support/memory-queue.js'

it('dbg', async () => {
  const fleet = await Fleet.create(memoryTests('x'), legUrl())
  const monitor = await fleet.monitor()
  const v = await fleet.victim([await fleet.add({ gate: 'again' })])
  await fleet.recover(monitor, v.processId).catch(console.log)
  console.log(
    await fleet.records.tasks(),
    (await sql`select * from holdfast_processes`.execute(fleet.database.db)).rows,
    await fleet.queue.probes.list(),
  )
  await fleet[Symbol.asyncDispose]()
})
