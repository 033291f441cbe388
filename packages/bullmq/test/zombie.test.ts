import { type LedgerEntry, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a worker that stands still for longer than its lease', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'handOff'] as const)('can end nothing on waking (%s)', async (way) => {
    const zombie = await fixture.worker({ way })
    const jobs = [
      await fixture.add({ gate: 'open', result: 'mine' }),
      await fixture.add({ gate: 'open', fail: 'mine' }),
    ]
    await fixture.started(2)
    const survivor = await fixture.worker({ way })
    zombie.pause()
    await fixture.started(4)
    zombie.resume()
    await until(() => fixture.ledger.entries('aborted').filter(({ pid }) => pid === zombie.pid).length === 2)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await until(async () => (await fixture.places()).failed.length === 1)
    await zombie.message('evicted')
    // The failure of what was handed off is told; its completion was, by whoever handed it off.
    const ends = (): LedgerEntry[] => [
      ...fixture.ledger.entries('failed'),
      ...(way === 'handOff' ? [] : fixture.ledger.entries('completed')),
    ]
    await until(() => ends().length >= (way === 'handOff' ? 1 : 2))
    expect(new Set(ends().map(({ pid }) => pid))).toEqual(new Set([survivor.pid]))
    const places = await fixture.places()
    expect(places).toMatchObject({ completed: [jobs[0]!.id], failed: [jobs[1]!.id], active: [], wait: [] })
    expect(fixture.ledger.entries('start')).toHaveLength(4)
  })

  it('and fetches jobs anew afterwards, protected', async () => {
    const zombie = await fixture.worker()
    zombie.pause()
    const other = await fixture.worker()
    await until(
      async () => (await sql`select * from holdfast_processes`.execute(fixture.db)).rows.length === 1,
    )
    await other.kill()
    zombie.resume()
    const job = await fixture.add()
    await until(() => fixture.ledger.entries('finish', job.id).length === 1)
    expect(fixture.ledger.entries('start', job.id)[0]!.detail).toMatchObject({ protected: true })
  })
})
