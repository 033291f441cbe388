import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture, refs } from './support/fixture.js'
import { ago, SECOND } from './support/sql.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

describe('a process paused for longer than its lease', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is recovered, and on waking can complete nothing, hears that it was evicted and goes on anew', async () => {
    const { child, processId } = await fixture.holder({ refs: refs(5) })
    await fixture.started()
    child.pause()
    await until(async () => (await enqueuedRefs(fixture.db)).length >= 5)
    child.resume()
    child.send('complete')
    const { codes } = await child.message<{ codes: string[] }>('completed')
    expect(codes).toEqual(Array(5).fill('HOLDFAST_TASK_LOST'))
    const evicted = await child.message<{ processId: string; newProcessId: string }>('evicted')
    expect(evicted.processId).toBe(processId)
    expect(child.messages.filter((m) => (m as { type: string }).type === 'aborted')).toHaveLength(5)

    child.send('register')
    const { fullId } = await child.message<{ fullId: string }>('registered')
    expect(fullId.startsWith(`${evicted.newProcessId}/`)).toBe(true)
    expect(await enqueuedRefs(fixture.db)).toEqual(refs(5))
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('while it registers a task begins nothing on waking, though the task was written', async () => {
    const { child } = await fixture.holder()
    const survivor = await fixture.started()
    const recovered = new Promise((resolve) => survivor.on('recovered', resolve))
    await fixture.db.transaction().execute(async (trx) => {
      const all = sql`select process_id from holdfast_processes where process_id <> ${survivor.processId} for update`
      await all.execute(trx)
      child.send({ registerThenBlock: 6_000 })
      await child.message('blocking')
    })
    expect(await recovered).toMatchObject({ jobRef: 'late', outcome: 'requeued' })
    expect(await child.message('late')).toEqual({ type: 'late', code: 'HOLDFAST_TASK_LOST' })
    expect(await enqueuedRefs(fixture.db)).toEqual(['late'])
  })

  it('does not judge the others on waking, though all their heartbeats look old', async () => {
    const holders = await Promise.all(refs(3).map((ref) => fixture.holder({ refs: [ref] })))
    for (const { child } of holders) child.pause()
    await until(async () => {
      const { rows } = await sql`
        select process_id from holdfast_processes where lease_expires_at >= ${ago(SECOND)}`.execute(
        fixture.db,
      )
      return rows.length === 0
    })
    for (const { child } of holders) child.resume()
    for (const { child } of holders) {
      child.send('complete')
      expect(await child.message('completed')).toEqual({ type: 'completed', codes: ['ok'] })
    }
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    expect((await sql`select state from holdfast_processes`.execute(fixture.db)).rows).toEqual(
      Array(3).fill({ state: 'alive' }),
    )
  })
})
